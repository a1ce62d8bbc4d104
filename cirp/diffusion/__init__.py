"""Pipelines, their latents, and the loops that sample them."""
