"""Calls with consequences: the ledger, tools, and the requests of an assistant's reply."""
