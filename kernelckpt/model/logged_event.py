"""What the kernel's own event log may hold: events of a session, and children that were forgotten."""

from __future__ import annotations

from typing import TypeAlias

from kernelckpt.model.event import SessionEvent
from kernelckpt.model.os_event import AgentForgotten

LoggedEvent: TypeAlias = SessionEvent | AgentForgotten
"""An item of the event log."""
