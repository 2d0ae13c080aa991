"""Who is measured: this project, its peer, and what the machine itself can do."""
