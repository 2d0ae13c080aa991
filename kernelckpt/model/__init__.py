"""What the state is: frozen records, a noun a file; no I/O, no clock, no event loop."""
