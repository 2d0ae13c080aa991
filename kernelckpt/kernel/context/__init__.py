"""An agent's context: how it is counted, shown, put aside, compressed and renewed."""
