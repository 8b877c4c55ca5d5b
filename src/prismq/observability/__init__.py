"""Listens to what the runtime reports."""
