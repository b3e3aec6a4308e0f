"""One request's life: dispatch, retries, the commit point, the relay."""
