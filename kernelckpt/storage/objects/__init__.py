"""An object store as a storage: S3 and its like, Google Cloud Storage, Azure."""
