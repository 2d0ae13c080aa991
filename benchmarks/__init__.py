"""What checkpoints cost, beside peers and physical limits measured in the same run."""
