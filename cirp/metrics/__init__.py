"""Numbers of one edit."""
