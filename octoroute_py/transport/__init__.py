"""Bytes to upstreams and back; alone imports HTTP clients. Everything an upstream sends is taken as hostile."""
