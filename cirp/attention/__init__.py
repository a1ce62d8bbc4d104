"""Attention as values: seen and changed on their way, recorded, put together as maps."""
