"""How many slots the queues need, and what a day would have been like with another number of them."""
