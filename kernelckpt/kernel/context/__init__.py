"""An agent's context as pure functions: how it is counted, shown, compressed and renewed."""
