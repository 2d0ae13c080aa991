"""One SQLite file as a storage."""
