"""How the state changes: the table, the decisions, the turn, and the scheduler that hosts them."""
