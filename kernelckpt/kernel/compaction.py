"""Compression and renewal of live contexts: staged by a turn, or by the kernel itself before one."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kernelckpt.codec.record import decode_message, encode_record
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.compression import Compression, compress
from kernelckpt.kernel.context.groups import results_of
from kernelckpt.kernel.context.pressure import CompressionAction, is_idle, recommend
from kernelckpt.kernel.context.renewal import renew, should_renew
from kernelckpt.kernel.context.shorten import reduced
from kernelckpt.kernel.context.tokens import count, sum_tokens
from kernelckpt.kernel.context_change import apply_context
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.measure import Measure, measure_cell
from kernelckpt.kernel.staged import Staged
from kernelckpt.model.context import CompressionNote, ContextMeter, Handoff
from kernelckpt.model.message import Message
from kernelckpt.model.os_event import Compressed, ContextRenewed, PageOut
from kernelckpt.model.tcb import Tcb


class Held:
    """A history with what a turn has staged for it, and the bytes of messages that stay as they are."""

    def __init__(self, cell: Cell, staged: Staged) -> None:
        """Decode all of it."""
        before = cell.stream("history") if staged.history is None else staged.history
        data = [*before, *staged.messages_of("history")]
        self.messages = [decode_message(item, f"history[{index}]") for index, item in enumerate(data)]
        self._bytes = dict(zip(map(id, self.messages), data, strict=True))

    def encoded(self, messages: Sequence[Message]) -> list[bytes]:
        """The bytes of messages; one that is the same object as before is not encoded again."""
        return [self._bytes.get(id(message)) or encode_record(message) for message in messages]


def stage_compression(
    cell: Cell, staged: Staged, action: CompressionAction | None, *, force: bool = False
) -> Compression:
    """Stage a compression of a history, with what is staged for it already.

    Args:
        cell: the task's records.
        staged: what its turn has staged.
        action: the last stage; None for the one that the pressure recommends, and the strongest by force.
        force: run the stages as far as they go, not only until the context is down to its target.
    """
    held, context = Held(cell, staged), staged.context_after(cell.context)
    measured = measure_cell(cell)
    last = action or recommend(measured.effective_pressure, context.config)
    if last is None and not force:
        tokens = measured.tokens
        return Compression(tuple(held.messages), (), (), (), tokens, tokens)
    meter = staged.meter_after(cell.meter)
    done = compress(
        held.messages,
        context.plan,
        config=context.config,
        max_tokens=context.max_tokens,
        action=last or CompressionAction.AUTO_COMPACT,
        force=force,
        other_tokens=_other_tokens(cell, measured, staged),
        observed_tokens=meter.observed_tokens,
    )
    if done.actions:
        _stage(staged, held, done.messages, done.archived, done.notes)
    return done


def _other_tokens(cell: Cell, measured: Measure, staged: Staged) -> int:
    """The tokens of the context but for its history; what is staged for other partitions with them."""
    coming = [data for where, data in staged.messages if where != "history"]
    return measured.tokens - cell.tally("history").tokens + sum_tokens(map(decode_message, coming))


def _stage(
    staged: Staged,
    held: Held,
    messages: Sequence[Message],
    archived: Sequence[Message],
    notes: Sequence[CompressionNote],
) -> None:
    """Stage a history that takes the place of the one held, and say so in plan and event log."""
    _replace_history(staged, held, messages, archived)
    staged.plan.append(lambda plan: replace(plan, compression_log=(*plan.compression_log, *notes)))
    staged.meter.append(lambda meter: replace(meter, observed_tokens=None))
    seqs = (0, max(len(archived) - 1, 0))
    for note in notes:
        size = count(note.summary)
        staged.events.append(
            lambda turn, n=note, s=size: Compressed(turn, seqs, n.action, n.summary, s)  # type: ignore[misc]
        )
    if archived:
        last = notes[-1]
        staged.events.append(
            lambda turn: PageOut(turn, last.action, last.summary, message_count=len(archived))
        )


def _replace_history(
    staged: Staged, held: Held, messages: Sequence[Message], archived: Sequence[Message]
) -> None:
    staged.history = held.encoded(messages)
    staged.messages = [item for item in staged.messages if item[0] != "history"]
    staged.dropped_calls.update(part.call_id for message in archived for part in results_of(message))


def stage_renewal(cell: Cell, staged: Staged) -> Handoff:
    """Stage the next sprint of a context, with what is staged for it already.

    Lines that the agent has not read stay: the original dropped them, for there they were never consumed.
    """
    held, context = Held(cell, staged), staged.context_after(cell.context)
    renewal = renew(context, held.messages)
    handoff = renewal.context.last_handoff
    assert handoff is not None, "a renewal says where the sprint before stood"
    _replace_history(staged, held, renewal.history, renewal.archived)
    staged.context.append(lambda now: replace(now, sprint=now.sprint + 1, last_handoff=handoff))
    staged.plan.append(lambda plan: replace(plan, scratchpad=""))
    staged.meter.append(lambda meter: replace(meter, observed_tokens=None))
    sprint = renewal.context.sprint
    staged.events.append(lambda turn: ContextRenewed(turn, sprint, f"sprint:{handoff.sprint}"))
    if renewal.archived:
        gone = len(renewal.archived)
        staged.events.append(lambda turn: PageOut(turn, "renewal", message_count=gone))
    return handoff


def make_room(core: Core, row: Tcb) -> None:
    """Compress and renew a context before a turn if its pressure asks for it; one commit if it does.

    In this order: tool results are reduced if the agent was idle for long, the history is compressed in
    stages, and the context is renewed if it is still too full.
    """
    cell, staged = core.cell(row.id), Staged()
    config = cell.context.config
    now = core.clock.wall_ms()
    if is_idle(cell.meter or ContextMeter(), config, now):
        _stage_idle(cell, staged, now)
    measured = measure_cell(cell)
    action = recommend(measured.effective_pressure, config)
    after = measured.pressure
    if action is not None:
        done = stage_compression(cell, staged, action)
        after = done.tokens_after / cell.context.max_tokens if done.actions else after
    if should_renew(after, config):
        stage_renewal(cell, staged)
    if not staged.empty:
        apply_context(core.state, row.id, staged)
        core.tell("compacted", row.id, row.budget.turns, history=len(cell.stream("history")))
        core.state.commit(urgent=False)


def _stage_idle(cell: Cell, staged: Staged, now_ms: int) -> None:
    """Reduce the large results that an agent has not looked at for long."""
    staged.meter.append(lambda meter: replace(meter, last_compact_ms=now_ms))
    held, plan = Held(cell, staged), cell.context.plan
    messages = [reduced(message, frozenset(plan.preserved_refs)) for message in held.messages]
    changed = sum(new is not old for new, old in zip(messages, held.messages, strict=True))
    if changed:
        text = f"reduced large tool results in {changed} messages after a pause"
        note = CompressionNote(CompressionAction.MICRO_COMPACT.value, text)
        _stage(staged, held, messages, (), (note,))
