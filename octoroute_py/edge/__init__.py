"""The door: HTTP in and out; alone imports starlette and uvicorn."""
