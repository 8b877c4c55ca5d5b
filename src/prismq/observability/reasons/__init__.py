"""Why a task is where it is: while it waits, while a worker has it, and when it has ended."""
