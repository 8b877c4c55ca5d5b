"""Redis: carries hints and live events, and is never the truth."""
