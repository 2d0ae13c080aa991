"""Why a run stands still, in the vocabulary of the event log, and the waits it stands for."""

from __future__ import annotations

from enum import StrEnum

from kernelckpt.model.wait import WaitReason


class SuspendReason(StrEnum):
    """Why a run is suspended: the `reason` of a `suspended` event."""

    ASK_USER = "ask_user"
    SUB_AGENT_AWAIT = "sub_agent_await"
    EXTERNAL = "external"

    def wait_reason(self) -> WaitReason:
        """The wait of a suspended row; a join names no children yet."""
        if self is SuspendReason.ASK_USER:
            return WaitReason.approval()
        return WaitReason.external() if self is SuspendReason.EXTERNAL else WaitReason.sub_agent_join()


class BlockReason(StrEnum):
    """Why a run is blocked: a continuation is in flight."""

    TOOL_SUSPEND = "tool_suspend"
    MILESTONE_AWAIT = "milestone_await"

    def wait_reason(self) -> WaitReason:
        """The wait of a blocked row."""
        return WaitReason.tool() if self is BlockReason.TOOL_SUSPEND else WaitReason.milestone()
