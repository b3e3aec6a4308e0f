"""Where it is kept: one database, one writer, and the only code that speaks SQL."""
