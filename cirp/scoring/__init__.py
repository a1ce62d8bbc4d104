"""Scoring the outputs of any editor: pair them with their sources, align, score, and show."""
