"""How the miniature is trained: one loop, a file for each stage, and the chain of them all."""
