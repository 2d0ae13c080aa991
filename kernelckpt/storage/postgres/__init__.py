"""A PostgreSQL server as a storage."""
