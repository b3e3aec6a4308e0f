"""The page at /dashboard: its files, as they are sent."""
