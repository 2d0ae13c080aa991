"""A turn: what it reads, stages and calls, and how it becomes one commit."""
