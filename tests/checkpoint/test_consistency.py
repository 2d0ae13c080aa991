"""What `verify` says of one state: each bad record and each contradiction is found, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from state_kit import (
    RUN,
    TOTALS,
    new_storage,
    write_records,
    write_run,
)

from kernelckpt import (
    Approval,
    ApprovalStatus,
    BudgetLedger,
    Effect,
    LoopResult,
    Message,
    ProcInfo,
    SubAgentResult,
    TaskState,
    Tcb,
    TerminationReason,
    WaitReason,
    verify,
)
from kernelckpt.abc import Append, Put
from kernelckpt.checkpoint.verify import FindingKind
from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.events.row_event import row_events
from kernelckpt.model.context import Context
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.os_event import Resumed
from kernelckpt.model.os_snapshot import EventFold, OsSnapshot, ProcessRecord, SuspendRecord
from kernelckpt.model.process import AgentRole
from kernelckpt.model.signal import QueuedSignal, RuntimeSignal, SignalSource, SignalType, Urgency

DONE = TaskState.done(TerminationReason.COMPLETED)
RESULT = LoopResult(TerminationReason.COMPLETED)
CHILD = ProcInfo("a", AgentRole.CUSTOM)


def row(task_id="a", **fields):
    return (("task", task_id, 0), Tcb(task_id, **fields))


def child(task_id="b", parent="a", **fields):
    return row(task_id, parent=parent, **{"proc": CHILD, **fields})


def suspended(wait, task_id="a", **fields):
    return row(task_id, state=TaskState.SUSPENDED, wait=wait, **fields)


def approval(number=1, key="k", task="a", **fields):
    return (("approval", task, number), Approval(task, key, **fields))


def effect(number=1, task="a", **fields):
    return (("effect", task, number), Effect("mail", b"d" * 16, **fields))


def events_of(records):
    """What the event log says of these rows, when they are as they always were."""
    rows = [record for _, record in records if isinstance(record, Tcb)]
    return [event for row in rows for event in row_events(row.changed_turn, None, row)]


async def findings_of(*records, events=None):
    _, storage = new_storage()
    await write_records(storage, *records, events=events_of(records) if events is None else events)
    report = await verify(storage, RUN)
    assert report.ok == (not report.findings)
    return report.findings


# what is sound


SOUND = {
    "nothing": [],
    "a root": [row()],
    "a family": [row(spawned=1), child()],
    "a join": [suspended(WaitReason.sub_agent_join(["b"]), spawned=1), child()],
    "a join whose child has ended": [
        suspended(WaitReason.sub_agent_join(["b"])),
        row("b", state=DONE, result=RESULT),
    ],
    "a chain of joins": [
        suspended(WaitReason.sub_agent_join(["b", "c"])),
        suspended(WaitReason.sub_agent_join(["c"]), "b"),
        row("c"),
    ],
    "a question": [suspended(WaitReason.approval()), approval()],
    "a question about a call": [suspended(WaitReason.approval()), effect(7), approval(8, "effect:7")],
    "tool calls": [
        row(state=TaskState.BLOCKED, wait=WaitReason.tool()),
        effect(1, call_id="x"),
        effect(2, call_id="y"),
    ],
    "a wait for a signal": [suspended(WaitReason.signal())],
    "a wait for the outside": [suspended(WaitReason.external("an invoice"))],
    "a sleep": [row(deferred_until=5)],
    "an end": [row(state=DONE, result=RESULT), approval(status=ApprovalStatus.APPROVED)],
    "an end of a child": [
        row(spawned=1),
        child(state=DONE, proc=replace(CHILD, result=SubAgentResult("b", RESULT))),
    ],
    "forgotten tasks": [(TOTALS, KernelTotals(turn=9, total_tokens=9, cost_micros=9)), row(spawned=3)],
    "an inbox": [
        row(),
        (("inbox", "a", 1), InboxEntry(message=Message.user("hi"))),
        (("sent", "a", 2), SentKey("k")),
    ],
    "a program's values": [
        row(),
        (("state", "a", 0), Value(b"\x01", 3)),
        (("input", "a", 0), Value(b"\xc0")),
    ],
}


@pytest.mark.parametrize("records", SOUND.values(), ids=SOUND.keys())
async def test_a_sound_state(records):
    assert await findings_of(*records) == ()


# one bad record


BAD_RECORDS = {
    "of another type": ([(("task", "a", 0), b"\x81\xa2id\x01")], 'task["a"].id', "Expected `str`"),
    "no msgpack": ([(("task", "a", 0), b"\xc1")], 'task["a"]', ""),
    "of an unknown kind": ([row(), (("dream", "a", 0), b"\x80")], 'dream["a"]', "unknown kind"),
    "of an unknown field": (
        [row(), (("sent", "a", 3), b"\x82\xa3key\xa1k\xa1x\x01")],
        'sent["a"][3]',
        "unknown field",
    ),
    "another task's row": ([(("task", "b", 0), Tcb("a"))], 'task["b"]', "holds task 'a'"),
    "without a row": ([(("state", "a", 0), Value(b"\xc0"))], 'state["a"]', "has no row"),
    "numbered": ([row(), (("state", "a", 2), Value(b"\xc0"))], 'state["a"][2]', "one at most"),
    "of the kernel": ([row(), (("kernel", "a", 0), KernelTotals(turn=100))], 'kernel["a"]', "to the kernel"),
    "a value that is none": ([row(), (("state", "a", 0), Value(b"\xc1"))], 'state["a"]', ""),
    "a value with a tail": ([row(), (("input", "a", 0), Value(b"\xc0\xc0"))], 'input["a"]', ""),
    "an outcome that is none": ([row(), effect(outcome=b"\xc1")], 'effect["a"][1].outcome', ""),
}


@pytest.mark.parametrize(("records", "where", "text"), BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
async def test_a_bad_record(records, where, text):
    found = await findings_of(*records)
    assert [finding.kind for finding in found] == [FindingKind.RECORD]
    assert found[0].where == where
    assert text in found[0].text
    assert str(found[0]) == f"{where}: {found[0].text}"


async def test_bad_messages_are_all_found():
    _, storage = new_storage()
    items = (encode_record(Message.user("hi")), b"\xc0", b"")
    rows = [
        Put(TOTALS, KernelTotals()),
        Put(("task", "a", 0), Tcb("a")),
        Append(("history", "a", 0), 0, items),
    ]
    await write_run(storage, rows)
    found = (await verify(storage, RUN)).findings
    assert [finding.where for finding in found] == ['history["a"] message 1', 'history["a"] message 2']


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (("history", "a", 1), "is generation 1, but 2 is in use"),
        (("dreams", "a", 0), "unknown kind of stream"),
        (("history", "b", 0), "has no row"),
    ],
)
async def test_a_stream_that_does_not_belong(key, text):
    _, storage = new_storage()
    records = [
        Put(TOTALS, KernelTotals()),
        Put(("task", "a", 0), Tcb("a")),
        Put(("context", "a", 0), Context(history=2)),
    ]
    await write_run(storage, [*records, Append(key, 0, (encode_record(Message.user("hi")),))])
    found = (await verify(storage, RUN)).findings
    assert [text in finding.text for finding in found] == [True]


# records that contradict each other


BAD_STATES = {
    "a lost parent": ([child()], 'task["b"]', "parent 'a' has no row"),
    "a child without identity": ([row(spawned=1), row("b", parent="a")], 'task["b"]', "without its identity"),
    "a root with an identity": ([row(proc=CHILD)], 'task["a"]', "a root with a child's identity"),
    "a child nobody spawned": ([row(), child()], 'task["a"]', "1 children, but spawned 0"),
    "an ancestor of itself": ([child("a", "b", spawned=1), child("b", "a", spawned=1)], None, "own ancestor"),
    "its own parent": ([child("a", "a", spawned=1)], 'task["a"]', "own ancestor"),
    "a change to come": ([row(changed_turn=101)], 'task["a"]', "later than the kernel's 100"),
    "an end without a result": ([row(state=DONE)], 'task["a"]', "without a result"),
    "a result without an end": ([row(result=RESULT)], 'task["a"]', "has not ended"),
    "another result": (
        [row(state=DONE, result=LoopResult(TerminationReason.ERROR))],
        'task["a"]',
        "but its result says error",
    ),
    "somebody else's result": (
        [row(spawned=1), child(state=DONE, proc=replace(CHILD, result=SubAgentResult("c", RESULT)))],
        'task["b"]',
        "its result is that of 'c'",
    ),
    "an end that waits": (
        [row(state=DONE, result=RESULT, wait=WaitReason.signal())],
        'task["a"]',
        "has ended, but waits",
    ),
    "a wait for nothing": ([row(state=TaskState.SUSPENDED)], 'task["a"]', "waits for nothing"),
    "a wait for a stranger": (
        [suspended(WaitReason.sub_agent_join(["z"]))],
        'task["a"]',
        "'z', which has no",
    ),
    "a join of nobody": ([suspended(WaitReason.sub_agent_join())], 'task["a"]', "names none"),
    "a join of itself": ([suspended(WaitReason.sub_agent_join(["a"]))], 'task["a"]', "nothing inside"),
    "joins of each other": (
        [
            suspended(WaitReason.sub_agent_join(["b"])),
            suspended(WaitReason.sub_agent_join(["c"]), "b"),
            suspended(WaitReason.sub_agent_join(["a"]), "c"),
        ],
        None,
        "nothing inside can end this",
    ),
    "an answer nobody was asked for": ([suspended(WaitReason.approval())], 'task["a"]', "asked nothing"),
    "an answer that is there": (
        [suspended(WaitReason.approval()), approval(status=ApprovalStatus.DENIED)],
        'task["a"]',
        "asked nothing",
    ),
    "tools nobody called": (
        [row(state=TaskState.BLOCKED, wait=WaitReason.tool())],
        'task["a"]',
        "none is open",
    ),
    "an end with a question": ([row(state=DONE, result=RESULT), approval()], 'task["a"]', "open calls or"),
    "an end with a call": ([row(state=DONE, result=RESULT), effect()], 'task["a"]', "open calls or"),
    "a question asked twice": ([row(), approval(1), approval(2)], 'task["a"]', "asked 2 times under 'k'"),
    "two calls of one id": (
        [row(), effect(1, call_id="x"), effect(2, call_id="x")],
        'task["a"]',
        "2 calls have the id 'x'",
    ),
    "somebody else's question": (
        [row(), (("approval", "a", 1), Approval("b", "k"))],
        'task["a"]',
        "is that of task 'b'",
    ),
    "a question about no call": ([row(), approval(1, "effect:7")], 'task["a"]', "a call that is not there"),
    "too few turns": ([row(budget=BudgetLedger(turns=101))], "kernel", "turn is 100, but the tasks"),
    "too few tokens": ([row(budget=BudgetLedger(total_tokens=10_001))], "kernel", "together used 10001"),
    "too little money": ([row(budget=BudgetLedger(cost_micros=1))], "kernel", "cost_micros is 0"),
    "a signal to come": (
        [
            (
                ("signal", "", 3),
                QueuedSignal(
                    RuntimeSignal(SignalSource.CRON, SignalType.EVENT, Urgency.LOW, "s", id="1"), None
                ),
            )
        ],
        "signal[3]",
        "only 0 signals",
    ),
}


@pytest.mark.parametrize(("records", "where", "text"), BAD_STATES.values(), ids=BAD_STATES.keys())
async def test_a_contradiction(records, where, text):
    found = await findings_of(*records)
    assert [finding.kind for finding in found] == [FindingKind.STATE]
    assert where is None or found[0].where == where
    assert text in found[0].text


# the event log


async def test_children_are_compared_with_the_event_log():
    records = [row(spawned=2), child("b"), child("c", changed_turn=2)]
    found = await findings_of(*records, events=events_of(records[:2]))
    assert [str(finding) for finding in found] == ["event log: task 'c' is not in the event log"]
    assert found[0].kind is FindingKind.STATE


async def test_a_doctored_process_record():
    records = [row(spawned=1), child()]
    kept = (("process", "b", 0), ProcessRecord(0, "b", "a", "running"))
    assert await findings_of(*records, kept, events=[]) == ()
    doctored = (("process", "b", 0), ProcessRecord(0, "b", "a", "joined"))
    (found,) = await findings_of(*records, doctored, events=[])
    assert found.kind is FindingKind.STATE
    assert "task 'b' is running since turn 0" in found.text
    assert "by the event log joined" in found.text


async def test_the_log_is_the_fold_the_process_records_and_the_events_since():
    view = OsSnapshot(last_suspend=SuspendRecord(1, "signal"), suspended=True)
    records = [
        suspended(WaitReason.signal(), spawned=1),
        child(changed_turn=9),
        (("fold", "", 0), EventFold(7, view)),
        (("process", "b", 0), ProcessRecord(3, "b", "a", "failed")),
    ]
    assert await findings_of(*records, events=events_of(records[1:2])) == ()


async def test_a_log_that_is_damaged_is_not_compared():
    records = [row(spawned=1), child(), (("process", "b", 0), b"\xc1")]
    (found,) = await findings_of(*records, events=[])
    assert (found.kind, found.where) == (FindingKind.RECORD, 'process["b"]')


async def test_events_of_another_generation():
    _, storage = new_storage()
    puts = [Put(TOTALS, KernelTotals()), Put(("fold", "", 0), EventFold(2))]
    await write_run(storage, [*puts, Append(("event", "", 1), 0, (encode_record(Resumed(0)),))])
    found = (await verify(storage, RUN)).findings
    assert [str(finding) for finding in found] == ["event[1]: is generation 1, but 2 is in use"]


async def test_lost_totals():
    _, storage = new_storage()
    await write_run(storage, [Put(("task", "a", 0), Tcb("a"))])
    found = (await verify(storage, RUN)).findings
    assert [str(finding) for finding in found] == ["kernel: the totals are missing"]


async def test_a_checkpoint_listed_under_another_turn():
    _, storage = new_storage()
    await write_run(storage, [Put(TOTALS, KernelTotals(turn=3))], turn=4)
    found = (await verify(storage, RUN)).findings
    assert [finding.text for finding in found] == ["turn 3, but the checkpoint is listed as of turn 4"]


async def test_one_fault_does_not_hide_another():
    found = await findings_of(
        (("task", "a", 0), b"\xc1"),
        child(proc=None),
        suspended(WaitReason.approval(), "c"),
        row("d", state=DONE),
    )
    assert {finding.where for finding in found} == {'task["a"]', 'task["b"]', 'task["c"]', 'task["d"]'}


async def test_long_chains_need_no_recursion():
    count = 20_000
    joins = [suspended(WaitReason.sub_agent_join([f"t{n + 1}"]), f"t{n}") for n in range(count)]
    assert await findings_of(*joins, row(f"t{count}")) == ()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=6, max_size=6))
async def test_join_cycles_are_found_exactly(edges):
    records = [
        suspended(WaitReason.sub_agent_join([str(n) for n in targets]), str(index))
        if targets
        else row(str(index))
        for index, targets in enumerate(edges)
    ]
    found = [finding for finding in await findings_of(*records) if "nothing inside" in finding.text]
    assert bool(found) == _has_cycle(edges)


def _has_cycle(edges) -> bool:
    left = set(range(len(edges)))
    while free := {n for n in left if not left & set(edges[n])}:
        left -= free
    return bool(left)
