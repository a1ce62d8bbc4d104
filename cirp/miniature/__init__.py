"""The miniature: a drawn world with exact truth, and small models of the real classes."""
