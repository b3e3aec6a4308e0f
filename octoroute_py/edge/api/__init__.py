"""The management API under /api, one file a resource; camelCase JSON as in the Model Router Service."""
