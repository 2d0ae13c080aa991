"""What the benchmarks share: rounds, statistics, heartbeats, children, results."""
