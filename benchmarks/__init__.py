"""Speed and memory against raw SQLite and other queues, as ratios of figures taken in one run."""
