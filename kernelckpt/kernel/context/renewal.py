"""Renewal: the next sprint begins with the plan, what was retrieved, and the end of the conversation."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor

from msgspec.structs import replace

from kernelckpt.kernel.context.groups import start_of_newest
from kernelckpt.model.context import Context, Handoff
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.message import Message
from kernelckpt.model.record import Record

MIN_CARRYOVER_TOKENS = 100
"""What may be carried over at least."""


class Renewal(Record, frozen=True):
    """What a renewal makes of a context.

    Attributes:
        context: the context of the next sprint; its generations are those before, for whoever rewrites the
            history begins the next one. System and knowledge stay whole.
        history: the end of the history, which is carried over.
        archived: the rest of it.
    """

    context: Context
    history: tuple[Message, ...]
    archived: tuple[Message, ...]


def should_renew(raw_pressure: float, config: ContextConfig) -> bool:
    """Whether a context that was compressed is still too full to go on with."""
    return raw_pressure > config.renewal_threshold


def carryover_budget(config: ContextConfig, max_tokens: int) -> int:
    """How many tokens of history a renewal carries over at most."""
    return max(floor(config.carryover_ratio * max_tokens), MIN_CARRYOVER_TOKENS)


def renew(context: Context, history: Iterable[Message]) -> Renewal:
    """Begin the next sprint of a context.

    The newest messages are carried over while each fits, a call and its results together. The plan stays
    but for the scratchpad, and a handoff says where the sprint that ends stood.
    """
    messages = tuple(history)
    start = start_of_newest(messages, carryover_budget(context.config, context.max_tokens))
    following = replace(
        context,
        plan=replace(context.plan, scratchpad=""),
        sprint=context.sprint + 1,
        last_handoff=_handoff(context, len(messages), len(messages) - start),
    )
    return Renewal(following, messages[start:], messages[:start])


def _handoff(context: Context, history_len: int, carried_len: int) -> Handoff:
    plan = context.plan
    return Handoff(
        goal=plan.goal,
        sprint=context.sprint,
        progress=plan.progress,
        open_steps=plan.open_steps,
        blocked_on=plan.blocked_on,
        history_len=history_len,
        carried_len=carried_len,
    )
