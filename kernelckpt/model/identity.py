"""Who acts: the identity under which an agent runs and calls tools."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.model.record import Record


class AgentIdentity(Record, frozen=True, gc=False):
    """An agent and its session; also the caller that governance sees.

    Attributes:
        agent_id: the agent.
        session_id: its session.
        is_sub_agent: whether another agent spawned it.
        parent_session_id: the session that spawned it.
    """

    agent_id: str
    session_id: str
    is_sub_agent: bool
    parent_session_id: str | None = None

    @classmethod
    def new(cls, agent_id: str, session_id: str) -> AgentIdentity:
        """An agent that nobody spawned."""
        return cls(agent_id, session_id, is_sub_agent=False)

    @classmethod
    def sub_agent(cls, agent_id: str, session_id: str) -> AgentIdentity:
        """An agent that another one spawned."""
        return cls(agent_id, session_id, is_sub_agent=True)

    def with_parent(self, session_id: str) -> AgentIdentity:
        """The same identity under a parent session."""
        return replace(self, parent_session_id=session_id)
