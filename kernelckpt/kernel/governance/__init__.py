"""Governance as a pure pipeline: what a policy says of each call, without I/O and without a clock."""
