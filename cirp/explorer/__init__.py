"""An explorer in which an edit is run, looked at, and intervened in: `cirp.explore()`."""
