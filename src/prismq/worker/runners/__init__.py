"""Where a handler runs: a thread, the event loop, or a process of its own."""
