"""Alerts: rules on the figures of the queue, their states, and who is told."""
