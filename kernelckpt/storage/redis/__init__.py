"""A Redis server as a storage."""
