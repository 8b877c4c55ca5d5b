"""What a queue is: values and decisions. No I/O, no clock, no hidden randomness."""
