"""Rollbacks: a turn, or a reply with its calls, is undone, and the agent is told why and tries again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from msgspec.structs import replace

from kernelckpt.errors import GovernanceError, RateLimitedError
from kernelckpt.kernel.calls.request import calls_of, drop_request
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.lines import add_note
from kernelckpt.kernel.turn.calls import identity_of
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.event import ToolErrorKind
from kernelckpt.model.os_event import Rollbacked
from kernelckpt.model.rollback import (
    FatalToolError,
    GovernanceRefusal,
    MalformedReplay,
    ProviderFailure,
    RollbackReason,
    TimedOut,
    UserInterrupt,
)
from kernelckpt.model.tcb import Tcb

_FREE_ATTEMPTS = 3
"""Turns in a row that may be undone without a pause."""

LONGEST_PAUSE_MS = 60_000
"""The longest pause after a turn that was undone."""


def undo_turn(core: Core, row: Tcb, reason: RollbackReason, retry_after_ms: int = 0) -> None:
    """Undo a turn that has staged and not committed: one commit, in which only the note is new.

    It counts as a turn, so that an agent that is refused the same thing for ever comes to its limit, and each
    one after the third in a row begins later: most pay for a model with every turn. What really happened
    stays: what effects returned is kept for the next turn, what was spent is spent. An effect that raised
    may be tried again, as after any other turn.

    Args:
        core: the kernel.
        row: the task's row, at the turn.
        reason: why.
        retry_after_ms: milliseconds before which the task is not to run again.
    """
    core.count_turn()
    budget = replace(row.budget, turns=row.budget.turns + 1)
    if not core.programs[row.program].keeps_calls:
        forget_failures(core, row.id)
    pause_ms = max(pause_after(row.attempt), retry_after_ms)
    until_ms = core.clock.wall_ms() + pause_ms if pause_ms else None
    go_on(core, replace(row, budget=budget), reason, (), until_ms)
    core.state.commit(ended_turn=True)


def undo_refused(core: Core, row: Tcb, refusal: GovernanceError) -> None:
    """Undo a turn that governance has refused; after too many calls, it is run again only when it may."""
    later = refusal.retry_after_ms + 1 if isinstance(refusal, RateLimitedError) else 0  # so old still counts
    undo_turn(core, row, GovernanceRefusal(refusal.name, refusal.reason), later)


def pause_after(attempts: int) -> int:
    """How many milliseconds to wait after so many turns in a row, of which the last was undone."""
    over = attempts - _FREE_ATTEMPTS
    return min(100 << min(over - 1, 10), LONGEST_PAUSE_MS) if over > 0 else 0


def forget_failures(core: Core, task_id: str, *, repeatable: bool = False) -> None:
    """Drop the effects that raised; those left count from 0, so that the next turn finds them in its calls.

    Calls alike of which one is open are left as they are: it may still write its outcome.

    Args:
        core: the kernel.
        task_id: whose.
        repeatable: drop only those that were declared idempotent.
    """
    alike: dict[Hashable, list[tuple[int, Effect]]] = {}
    for number, effect in core.cell(task_id).effects.items():
        alike.setdefault(identity_of(effect)[:-1], []).append((number, effect))
    dropped: set[int] = set()
    for group in alike.values():
        if any(effect.in_doubt for _, effect in group):
            continue
        left = 0
        for number, effect in sorted(group, key=lambda item: item[1].occurrence):
            is_kept = repeatable and effect.policy is not EffectPolicy.IDEMPOTENT
            if effect.status is EffectStatus.RAISED and not is_kept:
                core.state.remove(("effect", task_id, number))
                dropped.add(number)
                continue
            if effect.occurrence != left:
                core.state.put(("effect", task_id, number), replace(effect, occurrence=left))
            left += 1
    _orphan(core, task_id, dropped)


def _orphan(core: Core, task_id: str, dropped: set[int]) -> None:
    """Let the calls within those that were dropped be found by whatever makes them next, in their order."""
    effects, seen = core.cell(task_id).effects, Counter[Hashable]()
    for effect in effects.values():
        if not effect.turn:
            alike = identity_of(effect)[1:-1]
            seen[alike] = max(seen[alike], effect.occurrence + 1)
    for number in sorted(number for number, effect in effects.items() if effect.within in dropped):
        alike = identity_of(effects[number])[1:-1]
        occurrence = 0 if effects[number].key else seen[alike]
        orphan = replace(effects[number], within=0, turn=0, occurrence=occurrence)
        seen[alike] += 1
        core.state.put(("effect", task_id, number), orphan)


def undo_request(core: Core, row: Tcb, reason: RollbackReason) -> None:
    """Drop an open request: neither the reply nor any result joins the history. Commits.

    The plan is what it was before the turn that asked; directives, which come from outside too, and the log
    of compressions stay.
    """
    calls, request = drop_request(core.state, row.id)
    if request.plan is not None:
        context = core.cell(row.id).context
        now = context.plan
        plan = replace(request.plan, directives=now.directives, compression_log=now.compression_log)
        core.state.put(("context", row.id, 0), replace(context, plan=plan))
    go_on(core, row, reason, calls, None)
    core.state.commit(waits=True)


def demanded_rollback(core: Core, task_id: str) -> RollbackReason | None:
    """Why a request is to be undone, by the first of its calls that says so; None if none does."""
    reasons = (_reason_of(effect) for effect in calls_of(core.cell(task_id)).values())
    return next((reason for reason in reasons if reason is not None), None)


def _reason_of(effect: Effect) -> RollbackReason | None:
    """Why the request of a call is to be undone, if that is what its outcome asks for."""
    match effect.error_kind:
        case ToolErrorKind.FATAL:
            return FatalToolError(effect.name, effect.error)
        case ToolErrorKind.PROVIDER_FAILURE:
            return ProviderFailure(f"{effect.name}: {effect.error}")
        case ToolErrorKind.TIMEOUT:
            return TimedOut()
        case ToolErrorKind.USER_INTERRUPT:
            return UserInterrupt()
    return None


def go_on(
    core: Core,
    row: Tcb,
    reason: RollbackReason,
    calls: Iterable[Effect] = (),
    until_ms: int | None = None,
) -> None:
    """Tell the agent of a rollback, note it in the event log, and make the task ready; the caller commits."""
    cell = core.cell(row.id)
    add_note(core.state, row.id, note_of(reason, calls, verbose=cell.context.config.verbose_control_notes))
    length = cell.length("history")
    event = Rollbacked(core.state.totals.turn, length, reason.kind)
    core.state.note(event)
    core.tell("rolled_back", row.id, row.budget.turns, reason=reason.kind)
    core.retry(row, until_ms)


def note_of(reason: RollbackReason, calls: Iterable[Effect] = (), *, verbose: bool = False) -> str:
    """What the agent is told of a rollback.

    Args:
        reason: why.
        calls: the calls that were undone with it; those that were made all the same are named.
        verbose: whether to say it in a full sentence.
    """
    text, calls = _text_of(reason), list(calls)
    if isinstance(reason, TimedOut | UserInterrupt):  # these do not name the call themselves
        text += "".join([f": {item.name}: {item.error}" for item in calls if _reason_of(item) == reason][:1])
    made = [effect.name for effect in calls if effect.status is EffectStatus.RETURNED]
    open_ones = [effect.name for effect in calls if effect.status is EffectStatus.STARTED]
    text += f"; made all the same: {', '.join(made)}" if made else ""
    text += f"; perhaps made: {', '.join(open_ones)}" if open_ones else ""
    return f"[SYSTEM] Transaction rollback: {text}" if verbose else f"[ROLLBACK] {text}"


def _text_of(reason: RollbackReason) -> str:
    match reason:
        case FatalToolError(tool_name=name, error=error):
            return f"{name} failed for good: {error}"
        case GovernanceRefusal(tool_name=name, reason=why):
            return f"{name} was refused: {why}"
        case ProviderFailure(error=error):
            return f"the provider failed: {error}"
        case MalformedReplay(reason=why):
            return f"it could not be gone on from: {why}"
        case UserInterrupt():
            return "the user broke in"
    return "it took too long"
