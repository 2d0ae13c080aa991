"""Why a turn was undone."""

from __future__ import annotations

from typing import TypeAlias

from kernelckpt.model.record import Record


class _Reason(Record, frozen=True, gc=False, tag_field="kind"):
    """What the reasons share: `kind` tells them apart."""

    @property
    def kind(self) -> str:
        """The label."""
        return str(self.__struct_config__.tag)


class FatalToolError(_Reason, frozen=True, gc=False, tag="fatal_tool_error"):
    """A tool failed in a way after which its turn makes no sense."""

    tool_name: str
    error: str


class GovernanceRefusal(_Reason, frozen=True, gc=False, tag="governance_denied"):
    """Governance refused a call, an effect or a spawn."""

    tool_name: str
    reason: str


class ProviderFailure(_Reason, frozen=True, gc=False, tag="provider_failure"):
    """The model's provider failed."""

    error: str


class TimedOut(_Reason, frozen=True, gc=False, tag="timeout"):
    """It took too long."""


class UserInterrupt(_Reason, frozen=True, gc=False, tag="user_interrupt"):
    """A human broke in."""


class MalformedReplay(_Reason, frozen=True, gc=False, tag="malformed_replay"):
    """What the agent said cannot be gone on from."""

    reason: str


RollbackReason: TypeAlias = (
    FatalToolError | GovernanceRefusal | ProviderFailure | TimedOut | UserInterrupt | MalformedReplay
)
