"""The event log: what happened, kept in the run, folded, replayed, and compared with the rows."""
