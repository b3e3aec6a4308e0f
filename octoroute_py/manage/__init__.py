"""Management use-cases, no HTTP: what operators do, and what they want to know."""
