"""How the tables came to be, one revision a file, each applied once and in order."""
