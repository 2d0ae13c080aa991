"""Redaction: what is known to be secret is taken out before it can become state."""
