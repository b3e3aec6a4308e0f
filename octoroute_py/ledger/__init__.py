"""What a request cost and how it ended."""
