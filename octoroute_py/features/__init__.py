"""A request as observations and numbers; pure functions, no I/O."""
