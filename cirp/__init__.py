"""Why instruction-guided image editing over-edits, and how remapping cross-attention stops it."""
