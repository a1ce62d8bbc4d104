"""Real edits from published collections: read, drawn, deduplicated, written as a folder of ours."""
