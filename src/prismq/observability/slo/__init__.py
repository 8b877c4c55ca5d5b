"""Service levels: what is promised, how much of it was kept, and how fast the rest is used up."""
