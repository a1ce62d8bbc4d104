"""Pictures, instructions and what is known of the answer."""
