"""What is kept, and how: one contract, and an engine per folder."""
