"""The embedded engine: one file, one writer at a time, readers beside it."""
