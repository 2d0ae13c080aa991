"""What must hold among the records of a state, a kind a file; each rule yields what is wrong, in words."""
