"""What the dashboard's pages show: functions from the queue to plain values. No HTTP, no HTML."""
