"""What a scheduler is told once and keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from kernelckpt.errors import UsageError
from kernelckpt.kernel.redaction.redaction import Redaction
from kernelckpt.kernel.signal_router import DEFAULT_CAPACITY, AttentionPolicy
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.governance import GovernancePolicy

Closures = Mapping[str, Any]
"""Functions and policies by the names that checkpoints keep of them."""


class Settings(Struct, frozen=True, kw_only=True):
    """How a kernel runs; see `Scheduler`.

    Attributes:
        run_id: the name of the run.
        budget: limits of tasks that are given none.
        context: thresholds of the contexts of new tasks.
        policy: what agents may do; None for what the restored run says, or else anything.
        closures: the veto closures and attention policies that policies name.
        attention: the name of the signal router's policy; "" for the default one, None for the restored one.
        signal_queue: how many signals are queued; None for what the restored run says, or else 64.
        auto_compact: whether contexts are compressed when they grow.
        keep_done: how many finished roots are kept; None for all.
        max_concurrency: how many turns may run at a time; None for no limit.
        redaction: what is secret, and must not become state.
    """

    run_id: str
    budget: SchedulerBudget
    context: ContextConfig = ContextConfig()
    policy: GovernancePolicy | None = None
    closures: Closures = {}
    attention: str | None = None
    signal_queue: int | None = None
    auto_compact: bool = False
    keep_done: int | None = None
    max_concurrency: int | None = None
    redaction: Redaction | None = None

    def check(self) -> None:
        """Raise `UsageError` for numbers that are none, and a redaction that is none."""
        if self.redaction is not None and not isinstance(self.redaction, Redaction):
            kind = type(self.redaction).__name__
            raise UsageError(f"redaction is a {kind}", hint="pass a Redaction, or None")
        numbers = (
            ("max_concurrency", self.max_concurrency, 1),
            ("keep_done", self.keep_done, 0),
            ("signal_queue", self.signal_queue, 0),
        )
        for name, value, least in numbers:
            if value is not None and (type(value) is not int or value < least):
                raise UsageError(f"{name} is {value!r}", hint=f"a whole number, {least} or more, or None")

    def attention_of(self, name: str) -> AttentionPolicy | None:
        """The router's policy of a name; None for the default one.

        Raises:
            UsageError: there is none of this name.
        """
        if not name:
            return None
        policy: AttentionPolicy | None = self.closures.get(name)
        if policy is None or not callable(getattr(policy, "decide", None)):
            message = f"no attention policy {name!r} among the closures"
            raise UsageError(message, hint="pass closures={name: object with `decide`}")
        return policy

    def queue_capacity(self, kept: int = DEFAULT_CAPACITY) -> int:
        """How many signals are queued, if `kept` is what the run says so far."""
        return kept if self.signal_queue is None else self.signal_queue
