"""Logs and metrics; every metric stands in one file."""
