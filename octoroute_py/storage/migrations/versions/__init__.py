"""The revisions. A released one is never changed; a new one names the last as its `down_revision`."""
