"""The editing methods: name -> `edit(models, tasks, **settings) -> list[Edit]`."""

from cirp.methods import (
    asg,
    blending,
    controls,
    foi,
    ip2p,
    ledits,
    lime,
    locatedit,
    noisy,
    wys,
    zone,
)

METHODS = {
    "ip2p": ip2p.edit,
    "noisy": noisy.edit,
    "foi": foi.edit,
    "lime": lime.edit,
    "asg": asg.edit,
    "ledits": ledits.edit,
    "locatedit": locatedit.edit,
    "zone": zone.edit,
    "wys": wys.edit,
    "blending": blending.edit,
    "nothing": controls.nothing,
    "round trip": controls.round_trip,
}
