"""The editing methods: name -> `edit(models, tasks, **settings) -> list[Edit]`."""

from cirp.methods import controls, ip2p, noisy

METHODS = {
    "ip2p": ip2p.edit,
    "noisy": noisy.edit,
    "nothing": controls.nothing,
    "round trip": controls.round_trip,
}
