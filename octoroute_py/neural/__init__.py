"""The small network: what it computes, how it is stored, how far it can be trusted."""
