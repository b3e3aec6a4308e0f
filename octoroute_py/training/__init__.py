"""Offline: what learns from labelled data. Nothing that serves requests imports it."""
