"""Importing this package registers every drawing in `cirp.miniature.kinds.KINDS`."""

from importlib import import_module
from pkgutil import iter_modules

for module in sorted(found.name for found in iter_modules(__path__)):
    import_module(f"{__name__}.{module}")
