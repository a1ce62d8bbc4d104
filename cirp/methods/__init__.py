"""The editing methods by name; `cirp.editing.method` says what a method is."""

from cirp.editing.method import Method
from cirp.methods import (
    asg,
    blending,
    dense,
    diffedit,
    foi,
    held,
    ip2p,
    ledits,
    lime,
    locatedit,
    noisy,
    p2p,
    references,
    refocus,
    remap,
    wys,
    zone,
)

METHODS: dict[str, Method] = {
    edit.name: edit
    for edit in (
        ip2p.edit,
        noisy.edit,
        p2p.edit,
        foi.edit,
        lime.edit,
        dense.edit,
        refocus.edit,
        asg.edit,
        ledits.edit,
        locatedit.edit,
        zone.edit,
        wys.edit,
        diffedit.edit,
        blending.edit,
        remap.edit,
        held.edit,
        references.nothing,
        references.round_trip,
    )
}
