"""Offline work: learning from labelled outcomes, and measuring what was learned. Serving never imports it."""
