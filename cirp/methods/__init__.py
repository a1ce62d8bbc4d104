"""The editing methods by name; `cirp.editing.method` says what a method is.

A method's module is read when the method is asked for, so that a name can be checked without torch.
"""

import difflib
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cirp.editing.method import Method

# name -> where it stands, if that is not `edit` of the module of that name
PLACES = {
    **dict.fromkeys(
        ("ip2p", "noisy", "p2p", "foi", "lime", "dense", "refocus", "asg", "ledits", "locatedit",
         "zone", "wys", "diffedit", "blending", "remap", "held"), ""
    ),
    "nothing": "references.nothing",
    "round trip": "references.round_trip",
}  # fmt: skip


class Methods(MutableMapping):
    """The methods, read when they are asked for. Raises `KeyError` for an unknown name."""

    def __init__(self) -> None:
        self._read: dict[str, Method] = {}

    def __repr__(self) -> str:
        return f"methods: {', '.join(self)}"

    def __getitem__(self, name: str) -> "Method":
        if name not in self:
            raise KeyError(f"{name!r}; there are {', '.join(self)}")
        if name not in self._read:
            module, _, function = (PLACES[name] or f"{name}.edit").partition(".")
            self._read[name] = getattr(import_module(f"cirp.methods.{module}"), function)
        return self._read[name]

    def __setitem__(self, name: str, method: "Method") -> None:
        self._read[name] = method

    def __delitem__(self, name: str) -> None:
        del self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in PLACES or name in self._read

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*PLACES, *self._read)))

    def __len__(self) -> int:
        return len({*PLACES, *self._read})


METHODS = Methods()


def check_name(name: str) -> None:
    """Raise `ValueError` for a method that there is not, with the nearest name; reads no module."""
    if name not in METHODS:
        near = difflib.get_close_matches(name.lower(), METHODS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown method {name!r}{hint} there are {', '.join(METHODS)}")
