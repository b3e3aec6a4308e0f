"""What an admin may do to the running gateway: a file a subject."""
