"""What a task waits for."""

from __future__ import annotations

from enum import StrEnum

from kernelckpt.model.record import Record


class WaitKind(StrEnum):
    """The label of a wait."""

    APPROVAL = "approval"
    SUB_AGENT_JOIN = "sub_agent_join"
    TOOL = "tool"
    MILESTONE = "milestone"
    SIGNAL = "signal"
    EXTERNAL = "external"


class WaitReason(Record, frozen=True, gc=False):
    """What must happen before the task can go on.

    Attributes:
        kind: which kind of wait.
        children: the tasks waited for; only with `sub_agent_join`. A live row that joins more than 64 may
            name some that have ended already, until half of them have.
        note: what an external wait is for, as its program said.
    """

    kind: WaitKind
    children: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if self.children and self.kind is not WaitKind.SUB_AGENT_JOIN:
            raise ValueError(f"a wait of kind {self.kind.value!r} cannot name children")

    @classmethod
    def approval(cls) -> WaitReason:
        """A human must answer."""
        return cls(WaitKind.APPROVAL)

    @classmethod
    def sub_agent_join(cls, children: tuple[str, ...] | list[str] = ()) -> WaitReason:
        """The listed tasks must end."""
        return cls(WaitKind.SUB_AGENT_JOIN, tuple(children))

    @classmethod
    def tool(cls) -> WaitReason:
        """Tool calls are in flight."""
        return cls(WaitKind.TOOL)

    @classmethod
    def milestone(cls) -> WaitReason:
        """A phase is being evaluated."""
        return cls(WaitKind.MILESTONE)

    @classmethod
    def signal(cls) -> WaitReason:
        """A signal must arrive."""
        return cls(WaitKind.SIGNAL)

    @classmethod
    def external(cls, note: str = "") -> WaitReason:
        """Somebody outside must resume the task or send it a message."""
        return cls(WaitKind.EXTERNAL, (), note)

    def label(self) -> str:
        """The snake_case label."""
        return self.kind.value

    def has_child(self, task_id: str) -> bool:
        """Whether this is a join that still waits for the task."""
        return task_id in self.children

    def remove_child(self, task_id: str) -> tuple[WaitReason, bool]:
        """The wait without any entry for the task, and whether nothing is left to join.

        For other kinds of wait: the same wait, and False.
        """
        if self.kind is not WaitKind.SUB_AGENT_JOIN:
            return self, False
        left = tuple(child for child in self.children if child != task_id)
        return WaitReason(self.kind, left), not left
