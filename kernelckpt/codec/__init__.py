"""Records to msgpack bytes and back: typed values, frames, digests, versions."""
