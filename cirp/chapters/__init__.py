"""What the notebooks call: one file a chapter."""
