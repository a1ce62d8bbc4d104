"""From an instruction and a caption to the target caption and the words that carry the edit."""
