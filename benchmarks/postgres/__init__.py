"""The same questions put to PostgreSQL: a private server, psycopg as the yardstick, and the queues that run on it."""
