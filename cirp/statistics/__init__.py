"""Numbers of many edits, with intervals."""
