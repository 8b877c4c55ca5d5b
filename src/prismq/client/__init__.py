"""Putting work in, asking for results, and acting on tasks."""
