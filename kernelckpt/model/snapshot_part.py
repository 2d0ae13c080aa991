"""Which field of a snapshot keeps the records of each kind; rows, contexts and streams are kept otherwise."""

from __future__ import annotations

BY_TASK = {
    "state": "states",
    "input": "inputs",
    "spec": "specs",
    "capabilities": "capabilities",
    "meter": "meters",
    "request": "requests",
    "milestone": "milestones",
    "process": "processes",
}
"""Kinds of which a task has one record at most."""

BY_TASK_AND_NUMBER = {
    "inbox": "inbox",
    "sent": "sent",
    "approval": "approvals",
    "effect": "effects",
    "spool": "spools",
}
"""Kinds of which a task may have several."""

OF_KERNEL = {"kernel": "totals", "governance": "governance", "fold": "fold"}
"""Kinds of which the kernel has one record at most."""

BY_NUMBER = {"signal": "queued_signals", "rate": "rates", "command": "commands"}
"""Kinds of which the kernel may have several."""
