"""The porter: who is asking, and may they come in."""
