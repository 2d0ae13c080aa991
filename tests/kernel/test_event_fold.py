"""The event log as a run keeps it: folded now and then, the same after a restore, in step with the rows."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_kit import Recorder, kernel_of, listen, settle
from msgspec.structs import replace
from test_any_history import World, operations

from kernelckpt import (
    Disposition,
    ProcInfo,
    RuntimeSignal,
    SignalSource,
    SignalType,
    TaskState,
    Tcb,
    Urgency,
    WaitReason,
)
from kernelckpt.abc import Append, Put, Remove
from kernelckpt.codec.record import decode_record, encode_record
from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.kernel.events import event_stream
from kernelckpt.kernel.events.cross_check import differences
from kernelckpt.kernel.events.event_log import VIEW_KEEPS
from kernelckpt.kernel.events.event_stream import FOLD, FOLD_EVERY
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.os_event import AgentProcessChanged, SignalDisposed
from kernelckpt.model.os_snapshot import (
    BudgetExceededRecord,
    EventFold,
    OsSnapshot,
    ProcessRecord,
    SuspendRecord,
)
from kernelckpt.model.process import AgentRole

CHILD = ProcInfo("p", AgentRole.CUSTOM)
SIGNAL = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL, "tick", id="x")


def loaded(saved):
    """The state that a restore would begin with."""
    state = KernelState(lambda _: None)
    state.load(saved)
    return state


def fold_of(saved):
    return decode_record(FOLD, saved.records[FOLD]) if FOLD in saved.records else EventFold()


class Comparing(Recorder):
    """Compares the live view with the one that is kept, and with the rows, at every commit."""

    def on_commit(self, kernel, commit):
        super().on_commit(kernel, commit)
        live = kernel.event_log.view()
        state = loaded(self.saved())
        assert state.log.view() == live
        assert state.totals.turn == kernel.turn
        assert differences(kernel.tasks, live, kernel.turn) == []
        assert all(len(items) <= event_stream.FOLD_EVERY for items in self._event_streams())

    def _event_streams(self):
        return [items for (kind, _, _), items in self.saved().streams.items() if kind == "event"]


class ComparingWorld(World):
    def __init__(self):
        super().__init__()
        self.recorder = Comparing()

    def _kernel(self):
        if not isinstance(self.recorder, Comparing):
            self.recorder = Comparing(self.recorder.saved())
        return super()._kernel()

    def check(self):
        super().check()
        report = self.kernel.restored
        assert report is None or report.differences == ()


@pytest.mark.parametrize("fold_every", [1, 5, 256])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps=st.lists(operations, max_size=30))
def test_the_kept_log_is_the_live_one_in_any_history(fold_every, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_stream, "FOLD_EVERY", fold_every)
        asyncio.run(ComparingWorld().run([("submit", "a", 1000), ("submit", "b", 1000), *steps]))


async def parent(turn):
    if turn.number == 1:
        children = [turn.spawn("listen", task_id=f"c{n}") for n in range(3)]
        return turn.join(*children)
    return turn.complete("joined")


PROGRAMS = {"listen": listen, "parent": parent}


async def test_a_long_log_is_folded_and_a_restore_reads_the_rest_only():
    recorder = Comparing()
    async with kernel_of(PROGRAMS, hooks=[recorder]) as kernel:
        await kernel.submit("parent", task_id="p")
        await kernel.submit("listen", task_id="l")
        await settle()
        for n in range(FOLD_EVERY):
            await kernel.send("l", f"m{n}")
            await settle(10)
        await kernel.send("c1", "stop")
        await settle()
        view = kernel.event_log.view()
        counts = kernel.event_log.counts
        assert counts["suspended"] > FOLD_EVERY
    saved = recorder.saved()
    fold = fold_of(saved)
    assert fold.generation == sum(counts.values()) // FOLD_EVERY
    assert fold.view.process_by_agent == ()
    assert {key for key in saved.streams if key[0] == "event"} <= {("event", "", fold.generation)}
    assert ("process", "c1", 0) in saved.records
    after = Comparing(saved)
    async with kernel_of(PROGRAMS, hooks=[after]) as kernel:
        assert kernel.event_log.view() == view
        assert [p.agent_id for p in view.process_by_agent] == ["c0", "c1", "c2"]
        assert [p.state for p in view.process_by_agent] == ["running", "joined", "running"]
        assert kernel.restored.differences == ()
        assert len(kernel.event_log.events) <= FOLD_EVERY


async def test_forgotten_children_are_gone_from_what_is_kept():
    recorder = Comparing()
    async with kernel_of(PROGRAMS, hooks=[recorder]) as kernel:
        await kernel.submit("parent", task_id="p")
        await kernel.idle()
        await kernel.cancel("p")
        await kernel.forget("p")
        await kernel.submit("parent", task_id="p")
        await kernel.idle()
        await kernel.cancel("p")
        await kernel.forget("p")
    assert loaded(recorder.saved()).log.view().process_by_agent == ()


async def test_a_signal_that_is_not_taken_is_in_the_log_all_the_same():
    recorder = Comparing()
    async with kernel_of(PROGRAMS, hooks=[recorder]) as kernel:
        once = replace(SIGNAL, dedupe_key="k")
        await kernel.signal(once)
        assert await kernel.signal(once) is Disposition.IGNORE
        view = kernel.event_log.view()
        assert [record.disposition for record in view.signals] == ["queue", "ignore"]
        assert loaded(recorder.saved()).log.view() == view


# what contradicts the rows


async def saved_family(*, folded=True):
    recorder = Recorder()
    async with kernel_of(PROGRAMS, hooks=[recorder]) as kernel:
        await kernel.submit("parent", task_id="p")
        await kernel.idle()
        if folded:
            await many_signals(kernel)
    return recorder.saved()


async def many_signals(kernel):
    """As many events as make a fold."""
    for n in range(FOLD_EVERY + 1):
        await kernel.signal(replace(SIGNAL, id=f"s{n}"), "c0")
    await settle()


async def test_a_doctored_process_record_is_told():
    saved = await saved_family()
    key = ("process", "c1", 0)
    saved.records[key] = encode_record(replace(decode_record(key, saved.records[key]), state="failed"))
    kernel = kernel_of(PROGRAMS, hooks=[Recorder(saved)])
    told = kernel.events()
    async with kernel:
        (text,) = kernel.restored.differences
        assert "task 'c1' is running" in text
        assert "by the event log failed" in text
    kinds = {event.kind: event.data async for event in told}
    assert kinds["log_differs"] == {"differences": (text,)}


async def test_what_a_restore_read_is_in_the_next_fold():
    recorder = Comparing(await saved_family(folded=False))
    async with kernel_of(PROGRAMS, hooks=[recorder]) as kernel:
        await many_signals(kernel)
    assert fold_of(recorder.saved()).generation > 0
    assert [key[1] for key in recorder.saved().records if key[0] == "process"] == ["c0", "c1", "c2"]


async def test_an_event_of_a_child_without_a_row_is_told_once():
    saved = await saved_family(folded=False)
    saved.streams["event", "", 0] += (encode_record(running("z")),)
    recorder = Recorder(saved)
    async with kernel_of(PROGRAMS, hooks=[recorder]) as kernel:
        assert len(kernel.restored.differences) == 1
        await many_signals(kernel)
    async with kernel_of(PROGRAMS, hooks=[Comparing(recorder.saved())]) as kernel:
        assert kernel.restored.differences == ()


def test_a_row_that_lost_its_place_is_no_contradiction():
    """A task that is forgotten and made again within one checkpoint keeps its former place in it."""
    saved = Recorder().saved()
    for row in (RUNNING[0], RUNNING[2], RUNNING[1]):
        saved.records["task", row.id, 0] = encode_record(row)
    events = [
        AgentProcessChanged(0, row.id, "p", "custom", "shared", "none", "running") for row in RUNNING[1:]
    ]
    saved.streams["event", "", 0] = tuple(map(encode_record, events))
    state = loaded(saved)
    assert [record.agent_id for record in state.log.view().process_by_agent] == ["c1", "c0"]
    assert differences(state.table, state.log.view()) == []


async def test_a_record_of_a_child_without_a_row_is_told():
    saved = await saved_family()
    saved.records["process", "c1", 0] = encode_record(ProcessRecord(1, "z", "p", "running"))
    state = loaded(saved)
    assert [text.split(",")[0] for text in differences(state.table, state.log.view())] == [
        "task 'c1' is not in the event log",
        "the event log knows task 'z' as running since turn 1 for session 'p'",
    ]
    async with kernel_of(PROGRAMS, hooks=[Recorder(saved)]) as kernel:
        assert len(kernel.restored.differences) == 2


def running(agent):
    return AgentProcessChanged(0, agent, "p", "custom", "shared", "none", "running")


def family(*states):
    return [Tcb("p"), *(Tcb(f"c{n}", parent="p", proc=CHILD, state=state) for n, state in enumerate(states))]


def records(*agents, **fields):
    processes = tuple(ProcessRecord(0, agent, "p", "running") for agent in agents)
    return OsSnapshot(process_by_agent=processes, **fields)


RUNNING = family(TaskState.READY, TaskState.RUNNING)
SUSPENDED = [Tcb("p", state=TaskState.SUSPENDED, wait=WaitReason.signal())]
CONTRADICTIONS = {
    "order": (RUNNING, records("c1", "c0"), "task 'c0' comes before 'c1', but after it"),
    "turn": ([Tcb("p"), replace(RUNNING[1], changed_turn=2)], records("c0"), "running since turn 2 "),
    "session": (
        [replace(RUNNING[1], proc=ProcInfo("q", AgentRole.CUSTOM))],
        records("c0"),
        "for session 'q', but by the event log running since turn 0 for session 'p'",
    ),
    "a root": ([Tcb("c0")], records("c0"), "no child of that id has a row"),
    "a suspension": (SUSPENDED, OsSnapshot(), "the event log knows of no suspension"),
    "no suspension": ([Tcb("p")], OsSnapshot(suspended=True), "ends in a suspension"),
    "a resume to come": ([], OsSnapshot(last_resumed_turn=8), "knows of turn 8, later than the kernel's 7"),
    "a limit to come": ([], OsSnapshot(budget_exceeded=(BudgetExceededRecord(9, "x"),)), "knows of turn 9"),
}


@pytest.mark.parametrize(("rows", "view", "text"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_each_contradiction_is_found_once(rows, view, text):
    (found,) = differences(rows, view, 7)
    assert text in found


def test_what_agrees():
    assert differences(RUNNING, records("c0", "c1"), 0) == []
    once = SuspendRecord(3, "signal")
    assert differences(SUSPENDED, OsSnapshot(last_suspend=once, suspended=True), 3) == []
    assert differences(SUSPENDED, OsSnapshot(last_suspend=once, last_resumed_turn=3), 3) == []


# what is refused


@pytest.mark.parametrize(
    ("key", "items", "path"),
    [
        (("event", "", 1), (), "event[1]"),
        (("event", "", 0), (b"\xc0",), "event item 0"),
        (("event", "", 0), (b"\x81\xa4kind\xa3new",), "event item 0.kind"),
        (("event", "a", 0), (), 'event["a"]'),
        (("history", "", 0), (), "history"),
    ],
)
def test_a_stream_that_is_not_the_log_s(key, items, path):
    saved = Recorder().saved()
    saved.records["task", "a", 0] = encode_record(Tcb("a"))
    saved.streams[key] = items
    with pytest.raises(DecodeError) as caught:
        loaded(saved)
    assert caught.value.path == path


def test_a_fold_belongs_to_no_task():
    saved = Recorder().saved()
    saved.records["task", "a", 0] = encode_record(Tcb("a"))
    saved.records["fold", "a", 0] = encode_record(EventFold(1))
    with pytest.raises(DecodeError, match="belongs to task 'a'"):
        loaded(saved)


# what it costs


def commit_sizes(children, events):
    """The bytes of each commit that suspends or resumes one child of a family; and of what is kept."""
    sizes = []

    def measure(commit):
        sizes.append(sum(size_of(change) for change in commit.changes))
        recorder.on_commit(None, commit)

    recorder = Recorder()
    recorder.saved = lambda: None
    state = KernelState(measure)
    for row in family(*[TaskState.READY] * children):
        state.put_row(row)
        state.commit()
    del sizes[:]
    asking = replace(state.row("c0"), state=TaskState.SUSPENDED, wait=WaitReason.approval())
    ready = state.row("c0")
    for n in range(events):
        state.put_row(ready if n % 2 else asking)
        state.note(SignalDisposed(0, f"s{n % 10}", "queue", 1))
        state.commit()
    del recorder.saved
    return sizes, recorder.saved()


def size_of(change):
    if isinstance(change, Put):
        return len(encode_record(change.record))
    return sum(map(len, change.items)) if isinstance(change, Append) else len(change.key[0])


def test_a_commit_costs_the_same_however_old_the_run_is_and_however_many_children_it_has():
    sizes, saved = commit_sizes(children=1, events=5000)
    early, late = sizes[:1000], sizes[-1000:]
    assert abs(max(early) - max(late)) <= 16, "numbers of some more digits"
    assert abs(sum(early) - sum(late)) <= 1000 * 16
    assert max(sizes) < 8000
    kept = [len(data) for data in saved.records.values()]
    kept += [len(item) for items in saved.streams.values() for item in items]
    assert sum(kept) < 60_000
    crowded, _ = commit_sizes(children=2000, events=5000)
    assert max(crowded[1000:]) <= max(sizes) + 16


def test_what_is_forgotten_in_the_commit_that_changed_it_stays_gone():
    commits = []
    state = KernelState(commits.append)
    state.put_row(Tcb("a"))
    state.commit()
    state.put_row(replace(state.row("a"), attempt=3))
    state.forget("a")
    assert state.uncommitted
    state.commit()
    assert [type(change) for change in commits[1].changes] == [Remove]
    state.put_row(Tcb("a"))
    state.commit()
    assert [change.record for change in commits[2].changes] == [Tcb("a")]


def test_a_row_whose_event_cannot_be_kept_is_kept_all_the_same():
    recorder = Recorder()
    state = KernelState(lambda commit: recorder.on_commit(None, commit))
    state.put_row(Tcb("a"))
    state.commit()
    asking = replace(state.row("a"), state=TaskState.SUSPENDED, wait=WaitReason.approval())
    with pytest.raises(InvalidValueError):
        state.put_row(asking, pending=["\ud800"])
    state.commit()
    assert decode_record(("task", "a", 0), recorder.saved().records["task", "a", 0]) == state.row("a")


def test_a_row_that_only_spends_costs_the_log_nothing():
    commits = []
    state = KernelState(commits.append)
    state.put_row(Tcb("a"))
    state.commit()
    state.put_row(replace(state.row("a"), attempt=3))
    state.commit()
    assert [change.key for change in commits[1].changes] == [("task", "a", 0)]


def test_the_fold_is_a_few_kilobytes():
    state = KernelState(lambda _: None)
    for n in range(4 * VIEW_KEEPS + FOLD_EVERY):
        state.note(SignalDisposed(n, f"{n:036}", "interrupt_now", 64))
        state.commit()
    assert len(encode_record(state.events.fold)) < 6000
