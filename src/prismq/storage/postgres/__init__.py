"""The engine of several machines: PostgreSQL 13 or later, through psycopg 3."""
