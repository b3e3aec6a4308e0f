"""Learning from labelled prompts, offline; nothing that serves requests imports this room."""
