"""Pressure: how full a context is, and what is to be done about it."""

from __future__ import annotations

from enum import StrEnum

from kernelckpt.kernel.context.plan import format_compact
from kernelckpt.kernel.context.tokens import count
from kernelckpt.model.context import ContextMeter, Plan
from kernelckpt.model.context_config import ContextConfig

MS_PER_MINUTE = 60_000


class CompressionAction(StrEnum):
    """How a history gives way; from the weakest to the strongest."""

    SNIP_COMPACT = "snip_compact"
    MICRO_COMPACT = "micro_compact"
    CONTEXT_COLLAPSE = "context_collapse"
    AUTO_COMPACT = "auto_compact"


def total_tokens(system: int, knowledge: int, history: int, plan: Plan) -> int:
    """The tokens of a context, given those of its partitions; 1 for an empty one. Signals cost nothing."""
    return system + knowledge + history + count(format_compact(plan))


def raw_pressure(total: int, max_tokens: int, observed: int | None = None) -> float:
    """How full a context is, 1.0 is full.

    Args:
        total: its tokens.
        max_tokens: the window; one of 0 is never under pressure.
        observed: tokens as the provider has counted them; they count instead of the total.
    """
    return (total if observed is None else observed) / max_tokens if max_tokens else 0.0


def effective_pressure(total: int, max_tokens: int, non_resident: int, observed: int | None = None) -> float:
    """How full a context is as it is shown: what is spooled or collapsed does not count.

    Args:
        total: its tokens.
        max_tokens: the window.
        non_resident: tokens of the handles that do not occupy the context.
        observed: tokens as the provider has counted them; it has seen the context as shown, so nothing
            is taken off.
    """
    return raw_pressure(max(total - non_resident, 0), max_tokens, observed)


def recommend(effective: float, config: ContextConfig) -> CompressionAction | None:
    """The strongest action whose threshold the effective pressure exceeds, or None."""
    thresholds = (
        (config.auto_threshold, CompressionAction.AUTO_COMPACT),
        (config.collapse_threshold, CompressionAction.CONTEXT_COLLAPSE),
        (config.micro_threshold, CompressionAction.MICRO_COMPACT),
        (config.snip_threshold, CompressionAction.SNIP_COMPACT),
    )
    return next((action for threshold, action in thresholds if effective > threshold), None)


def is_idle(meter: ContextMeter, config: ContextConfig, now_ms: int) -> bool:
    """Whether tool results are to be shortened because the agent has been idle.

    Whole minutes count, since the last compression for idleness, or since the last activity if there was
    none. An agent that was never active is not idle; a clock that ran backwards counts as no time.
    """
    if not meter.last_activity_ms:
        return False
    since = meter.last_activity_ms if meter.last_compact_ms is None else meter.last_compact_ms
    return max(now_ms - since, 0) // MS_PER_MINUTE >= config.micro_compact_idle_minutes
