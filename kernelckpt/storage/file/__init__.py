"""Local files as a storage."""
