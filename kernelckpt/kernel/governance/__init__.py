"""Governance: what a policy says of each call, the gate that asks it, and how it is put in force."""
