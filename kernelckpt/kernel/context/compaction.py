"""Compression and renewal of live contexts: staged by a turn, or by the kernel itself before one."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kernelckpt.codec.record import PARTITIONS, decode_message, encode_record
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.change import apply_context
from kernelckpt.kernel.context.compression import Compression, compress
from kernelckpt.kernel.context.measure import Measure, spooled_calls
from kernelckpt.kernel.context.plan import with_notes
from kernelckpt.kernel.context.pressure import CompressionAction, is_idle, recommend
from kernelckpt.kernel.context.renewal import Renewal, renew, should_renew
from kernelckpt.kernel.context.shorten import reduced
from kernelckpt.kernel.context.spooling import unneeded_spools
from kernelckpt.kernel.context.tally import Tally
from kernelckpt.kernel.context.tokens import count
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.turn.staged import Staged
from kernelckpt.kernel.view import Messages
from kernelckpt.model.context import CompressionNote, ContextMeter, Handoff
from kernelckpt.model.message import Message
from kernelckpt.model.os_event import Compressed, ContextRenewed, PageOut
from kernelckpt.model.tcb import Tcb


class Held:
    """A history with what a turn has staged for it, and the bytes of messages that stay as they are."""

    def __init__(self, cell: Cell, staged: Staged) -> None:
        """Decode all of it."""
        self.cell = cell
        data = _encoded_history(cell, staged)
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
    measured, context = measure_staged(cell, staged), staged.context_after(cell.context)
    last = action or recommend(measured.effective_pressure, context.config)
    if last is None and not force:
        tokens = measured.tokens
        return Compression(Messages(_encoded_history(cell, staged)), (), (), (), tokens, tokens)
    held = Held(cell, staged)
    done = compress(
        held.messages,
        context.plan,
        config=context.config,
        max_tokens=context.max_tokens,
        action=last or CompressionAction.AUTO_COMPACT,
        force=force,
        other_tokens=measured.tokens - measured.history_tokens,
        observed_tokens=staged.meter_after(cell.meter).observed_tokens,
    )
    if done.actions:
        _stage(staged, held, done.messages, done.archived, done.notes)
    return done


def measure_staged(cell: Cell, staged: Staged) -> Measure:
    """Measure a context as it will be once what is staged for it is committed."""
    tallies = {partition: [cell.tally(partition)] for partition in PARTITIONS}
    if staged.history is not None:
        tallies["history"] = [_tally(staged.history)]
    for partition, items in staged.messages.items():
        tallies[partition].append(_tally(items))
    spooled = spooled_calls(cell, without=staged.dropped_spools)
    return Measure(staged.context_after(cell.context), staged.meter_after(cell.meter), tallies, spooled)


def _tally(items: Sequence[bytes]) -> Tally:
    tally = Tally()
    tally.update(items)
    return tally


def _encoded_history(cell: Cell, staged: Staged) -> list[bytes]:
    before = cell.stream("history") if staged.history is None else staged.history
    return [*before, *staged.messages.get("history", ())]


def _stage(
    staged: Staged,
    held: Held,
    messages: Sequence[Message],
    archived: Sequence[Message],
    notes: Sequence[CompressionNote],
) -> None:
    """Stage a history that takes the place of the one held, and say so in plan and event log."""
    _replace_history(staged, held, messages)
    staged.plan += (lambda plan: with_notes(plan, notes),)
    staged.meter += (lambda meter: replace(meter, observed_tokens=None),)
    seqs = (0, max(len(archived) - 1, 0))
    for note in notes:
        size = count(note.summary)
        staged.events += (
            lambda turn, n=note, s=size: Compressed(turn, seqs, n.action, n.summary, s),  # type: ignore[misc]
        )
    if archived:
        last = notes[-1]
        staged.events += (lambda turn: PageOut(turn, last.action, last.summary, message_count=len(archived)),)


def _replace_history(staged: Staged, held: Held, messages: Sequence[Message]) -> None:
    staged.history = held.encoded(messages)
    staged.messages.pop("history", None)
    staged.dropped_spools = unneeded_spools(held.cell, messages)


def stage_renewal(cell: Cell, staged: Staged) -> Handoff:
    """Stage the next sprint of a context, with what is staged for it already.

    Lines that the agent has not read stay: the original dropped them, for there they were never consumed.
    """
    held, renewal = _renewal(cell, staged)
    return _stage_renewal(staged, held, renewal)


def _renewal(cell: Cell, staged: Staged) -> tuple[Held, Renewal]:
    held = Held(cell, staged)
    return held, renew(staged.context_after(cell.context), held.messages)


def _stage_renewal(staged: Staged, held: Held, renewal: Renewal) -> Handoff:
    handoff, sprint = renewal.context.last_handoff, renewal.context.sprint
    assert handoff is not None, "a renewal says where the sprint before stood"
    _replace_history(staged, held, renewal.history)
    staged.context += (lambda now: replace(now, sprint=sprint, last_handoff=handoff),)
    staged.plan += (lambda plan: replace(plan, scratchpad=""),)
    staged.meter += (lambda meter: replace(meter, observed_tokens=None),)
    staged.events += (lambda turn: ContextRenewed(turn, sprint, f"sprint:{handoff.sprint}"),)
    if renewal.archived:
        gone = len(renewal.archived)
        staged.events += (lambda turn: PageOut(turn, "renewal", message_count=gone),)
    return handoff


def make_room(core: Core, row: Tcb) -> None:
    """Compress and renew a context before a turn if its pressure asks for it; one commit if it does.

    In this order: tool results are reduced if the agent was idle for long, the history is compressed in
    stages, and the context is renewed if it is still too full and that would make room. A turn that is run
    again with outcomes of calls finds the context as it was, so that it makes the same calls.
    """
    cell, staged = core.cell(row.id), Staged()
    if cell.effects:
        return
    config, now = cell.context.config, core.clock.wall_ms()
    if is_idle(cell.meter or ContextMeter(), config, now):
        _stage_idle(cell, staged, now)
    action = recommend(measure_staged(cell, staged).effective_pressure, config)
    if action is not None:
        stage_compression(cell, staged, action)
    if should_renew(measure_staged(cell, staged).pressure, config):
        held, renewal = _renewal(cell, staged)
        if renewal.archived:
            _stage_renewal(staged, held, renewal)
    if not staged.empty:
        _commit(core, row, staged)


def _commit(core: Core, row: Tcb, staged: Staged) -> None:
    apply_context(core.state, row.id, staged)
    if staged.history is not None:
        core.tell("compacted", row.id, row.budget.turns, history=len(staged.history))
    core.state.commit(urgent=False)


def _stage_idle(cell: Cell, staged: Staged, now_ms: int) -> None:
    """Reduce the large results that an agent has not looked at for long."""
    staged.meter += (lambda meter: replace(meter, last_compact_ms=now_ms),)
    held, plan = Held(cell, staged), cell.context.plan
    messages = [reduced(message, frozenset(plan.preserved_refs)) for message in held.messages]
    changed = sum(new is not old for new, old in zip(messages, held.messages, strict=True))
    if changed:
        text = f"reduced large tool results in {changed} messages after a pause"
        note = CompressionNote(CompressionAction.MICRO_COMPACT.value, text)
        _stage(staged, held, messages, (), (note,))
