"""TOML to one immutable Config; the only room that reads files and the environment for settings."""
