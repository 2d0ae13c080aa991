"""What `verify` says of one state: each bad record and each contradiction is found, and nothing else."""

import msgspec
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
    AgentIdentity,
    AgentRunSpec,
    Approval,
    ApprovalStatus,
    BudgetLedger,
    ContextConfig,
    Effect,
    EffectStatus,
    GovernancePolicy,
    LoopResult,
    Message,
    MilestoneContract,
    MilestonePhase,
    PermissionAction,
    PermissionRule,
    ProcInfo,
    ResourceQuota,
    SchedulerBudget,
    SubAgentResult,
    TaskState,
    Tcb,
    TerminationReason,
    ToolCall,
    ToolRateLimit,
    WaitReason,
    verify,
)
from kernelckpt.abc import Append, Put
from kernelckpt.checkpoint.verify import FindingKind
from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.context.spool import preview
from kernelckpt.kernel.events.row_event import row_events
from kernelckpt.model.context import Context
from kernelckpt.model.governance import MEMORY_WRITES, AuditEntry, AuditVerdict, RateSlot
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.os_event import Resumed
from kernelckpt.model.os_snapshot import EventFold, OsSnapshot, ProcessRecord, SuspendRecord
from kernelckpt.model.process import AgentRole
from kernelckpt.model.request import OpenRequest
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


ARGUMENTS = {"to": ["ann"], "size": 1.5}


def call(call_id, number=1, **fields):
    """A call in the ledger that an assistant has asked for."""
    arguments = msgspec.msgpack.encode(ARGUMENTS)
    return effect(number, call_id=call_id, **{"arguments": arguments, **fields})


def request(*call_ids):
    reply = Message.assistant("", [ToolCall(call_id, "mail", ARGUMENTS) for call_id in call_ids])
    return (("request", "a", 0), OpenRequest(reply))


def making_calls(**fields):
    return row(state=TaskState.BLOCKED, wait=WaitReason.tool(), **fields)


def spec(*phases, task="a"):
    contract = MilestoneContract(tuple(map(MilestonePhase, phases)))
    made = AgentRunSpec.new(AgentIdentity.new("x", "y"), AgentRole.CUSTOM, "")
    return (("spec", task, 0), replace(made, milestones=contract))


def claim(phase, text="I am done", **fields):
    return (("milestone", "a", 0), MilestoneProgress(phase, text=text, **fields))


def judged(**fields):
    return row(state=TaskState.BLOCKED, wait=WaitReason.milestone(), **fields)


def spooled(call_id, number=1):
    return (("spool", "a", number), SpooledResult(call_id, "fetch", "x" * 1000))


def previewed(call_id):
    shown = preview("x" * 1000, ContextConfig(spool_threshold_bytes=600, spool_preview_bytes=100))
    return Message.tool_result(call_id, shown.text)


def policy(**fields):
    return (("governance", "", 0), GovernancePolicy(**fields))


def rate(name, number=1, *, at_ms):
    return (("rate", "", number), RateSlot(name, at_ms))


def events_of(records):
    """What the event log says of these rows, when they are as they always were."""
    rows = [item[1] for item in records if isinstance(item[1], Tcb)]
    return [event for row in rows for event in row_events(row.changed_turn, None, row)]


async def report_on(*records, events=None):
    """What is said of these records, and of streams of task "a": (kind, item, item ...)."""
    _, storage = new_storage()
    streams = [item for item in records if isinstance(item[0], str)]
    records = [item for item in records if item not in streams]
    await write_records(
        storage, *records, events=events_of(records) if events is None else events, streams=streams
    )
    report = await verify(storage, RUN)
    assert report.ok == (not report.findings)
    return report


async def findings_of(*records, events=None):
    return (await report_on(*records, events=events)).findings


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
        suspended(WaitReason.sub_agent_join(["b"]), spawned=1),
        child(state=TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["c"]), spawned=1),
        child("c", "b"),
    ],
    "a question": [suspended(WaitReason.approval()), approval()],
    "a question that expires": [
        suspended(WaitReason.approval(), deferred_until=9),
        approval(expires_at_ms=9),
    ],
    "a question that expires beside one that does not": [
        suspended(WaitReason.approval()),
        approval(1, "old", expires_at_ms=9),
        approval(2, "new"),
    ],
    "a question of the kernel beside one that expires": [
        suspended(WaitReason.approval()),
        effect(7),
        approval(8, "effect:7.1.0"),
        approval(9, expires_at_ms=9),
    ],
    "a question about a call": [suspended(WaitReason.approval()), effect(7), approval(8, "effect:7")],
    "tool calls": [making_calls(), request("x", "y"), call("x", 1), call("y", 2)],
    "tool calls that a human must allow": [
        suspended(WaitReason.approval()),
        request("x"),
        call("x", 1),
        approval(2, "effect:1.0.0"),
    ],
    "a phase that is judged": [judged(), spec("one"), claim("one")],
    "a phase that a human judges": [
        suspended(WaitReason.approval()),
        spec("one", "two"),
        claim("two"),
        approval(1, "milestone:two.3"),
    ],
    "all phases passed": [row(), spec("one"), (("milestone", "a", 0), MilestoneProgress(None))],
    "a result put aside": [row(), spooled("x"), ("history", previewed("x"))],
    "results put aside under one call id": [
        row(),
        spooled("x", 1),
        spooled("x", 2),
        ("history", previewed("x"), previewed("x")),
    ],
    "an audit": [row(), ("audit", AuditEntry("mail", "x", AuditVerdict.ALLOW))],
    "a policy whose closures only the scheduler has": [policy(vetoes=("no_weekends",))],
    "rate slots": [policy(), rate("mail", at_ms=1)],
    "a ledger that went on after the end": [
        row(state=DONE, result=RESULT, budget=BudgetLedger(turns=1, total_tokens=5)),
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
    "a join of itself": ([suspended(WaitReason.sub_agent_join(["a"]))], 'task["a"]', "is no child of it"),
    "a join of somebody else's child": (
        [suspended(WaitReason.sub_agent_join(["b"])), row("c", spawned=1), child("b", "c")],
        'task["a"]',
        "waits for task 'b', which is no child of it",
    ),
    "a judgement of nothing": ([judged()], 'task["a"]', "takes none for done"),
    "a judgement of a phase that is not taken for done": (
        [judged(), spec("one"), (("milestone", "a", 0), MilestoneProgress("one", 2))],
        'task["a"]',
        "takes none for done",
    ),
    "calls that are not made": (
        [suspended(WaitReason.tool()), request("x"), call("x")],
        'task["a"]',
        "its wait (tool) ends only while it is blocked; it is suspended",
    ),
    **{
        f"{wait.label()} that blocks": (
            [row(state=TaskState.BLOCKED, wait=wait), approval()],
            'task["a"]',
            "ends only while it is suspended; it is blocked",
        )
        for wait in (WaitReason.approval(), WaitReason.signal(), WaitReason.external("an invoice"))
    },
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
    "an end with a request": ([row(state=DONE, result=RESULT), request()], 'task["a"]', "open calls or"),
    "two calls of one id": (
        [making_calls(), request("x"), call("x", 1), call("x", 2)],
        'task["a"]',
        "2 calls have the id 'x'",
    ),
    "a call nobody asked for": (
        [making_calls(), call("x")],
        'task["a"]',
        "call 'x' is open, but no request asks for it",
    ),
    "a call that its request does not ask for": (
        [making_calls(), request("x"), call("x", 1), call("y", 2)],
        'task["a"]',
        "call 'y' is open, but its request does not ask for it",
    ),
    "a call that is lost": (
        [making_calls(), request("x", "y"), call("y", 2)],
        'task["a"]',
        "asks for call 'x', which is not in the ledger",
    ),
    "calls in another order": (
        [making_calls(), request("x", "y"), call("y", 1), call("x", 2)],
        'task["a"]',
        "not in the order",
    ),
    "a call of another tool": (
        [making_calls(), request("x"), (("effect", "a", 1), replace(call("x")[1], name="pay"))],
        'task["a"]',
        "call 'x' in the ledger is not the one",
    ),
    "a call with other arguments": (
        [making_calls(), request("x"), call("x", arguments=msgspec.msgpack.encode({"to": ["bob"]}))],
        'task["a"]',
        "call 'x' in the ledger is not the one",
    ),
    "a call without its arguments": (
        [making_calls(), request("x"), call("x", arguments=b"")],
        'task["a"]',
        "call 'x' in the ledger is not the one",
    ),
    "a request that is forgotten": (
        [row(), request("x"), call("x")],
        'task["a"]',
        "has an open request, but is ready",
    ),
    "a question about a call that is decided": (
        [suspended(WaitReason.approval()), effect(7, status=EffectStatus.RETURNED), approval(8, "effect:7")],
        'task["a"]',
        "about a call that is returned already",
    ),
    "a phase that is in no contract": (
        [row(), spec("one"), (("milestone", "a", 0), MilestoneProgress("two"))],
        'task["a"]',
        "phase 'two' is not in the contract; its phases are 'one'",
    ),
    "a phase without a contract": (
        [row(), (("milestone", "a", 0), MilestoneProgress("one"))],
        'task["a"]',
        "it has no phases",
    ),
    "a contract with two phases of one id": ([row(), spec("one", "one")], 'task["a"]', "of an earlier phase"),
    "a phase done after the last": (
        [judged(), spec("one"), claim(None)],
        'task["a"]',
        "takes a phase for done, but none is left",
    ),
    "a phase that is not waited for": (
        [row(), spec("one"), claim("one")],
        'task["a"]',
        "does not wait until that is judged",
    ),
    "a phase that another wait hides": (
        [suspended(WaitReason.approval()), spec("one"), claim("one"), approval()],
        'task["a"]',
        "does not wait until that is judged",
    ),
    "a phase that is taken for done at the end": (
        [row(state=DONE, result=RESULT), spec("one"), claim("one")],
        'task["a"]',
        "has ended, but takes phase 'one' for done",
    ),
    "a question about no phase": (
        [suspended(WaitReason.approval()), spec("one"), approval(1, "milestone:one.3")],
        'task["a"]',
        "about a phase that it does not take for done",
    ),
    "an output that is none": (
        [judged(), spec("one"), claim("one", output=b"\xc1")],
        'task["a"]',
        "the output that it would complete with cannot be read",
    ),
    "a question whose time nobody watches": (
        [suspended(WaitReason.approval()), approval(expires_at_ms=9)],
        'task["a"]',
        "its question expires, but no timer ends the wait",
    ),
    "a result put aside for nothing": ([row(), spooled("x", 3)], 'spool["a"][3]', "result of call 'x'"),
    "a result put aside of which more is shown": (
        [row(), spooled("x"), ("history", Message.tool_result("x", "x" * 1000))],
        'spool["a"][1]',
        "holds no preview",
    ),
    "an older result put aside that is not shown any more": (
        [row(), spooled("x", 1), spooled("x", 2), ("history", previewed("x"))],
        'spool["a"][1]',
        "holds no preview",
    ),
    "a policy that contradicts itself": (
        [policy(rules=(PermissionRule("*a*", PermissionAction.DENY),))],
        "governance",
        "cannot be put in force: governance.rules[0].tool_pattern",
    ),
    "more turns in a result than in the ledger": (
        [row(state=DONE, result=replace(RESULT, turns_used=2), budget=BudgetLedger(turns=1))],
        'task["a"]',
        "its result says 2 turns, but its ledger has 1",
    ),
    "more tokens in a result than in the ledger": (
        [row(state=DONE, result=replace(RESULT, total_tokens_used=2))],
        'task["a"]',
        "its result says 2 tokens, but its ledger has 0",
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
    "fewer tokens below a task than were spent there": (
        [
            row(spawned=1, budget=BudgetLedger(SchedulerBudget(include_children=True), children_tokens=4)),
            child("b", budget=BudgetLedger(total_tokens=5)),
        ],
        'task["a"]',
        "it counts 4 tokens below it, but 5 were spent there",
    ),
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


async def test_an_unreadable_record_is_not_blamed_on_others():
    """A rule keeps quiet about what only looks wrong because a record cannot be read."""
    broken = b"\xc1"
    for records in (
        [making_calls(), (("request", "a", 0), broken), call("x")],
        [row(), (("spec", "a", 0), broken), (("milestone", "a", 0), MilestoneProgress("one"))],
        [suspended(WaitReason.approval()), (("effect", "a", 7), broken), approval(8, "effect:7")],
    ):
        assert [found.kind for found in await findings_of(*records)] == [FindingKind.RECORD]


async def test_an_audit_entry_that_is_none():
    (found,) = await findings_of(
        row(), ("audit", AuditEntry("mail", "x", AuditVerdict.ALLOW), Message.user("hi"))
    )
    assert (found.kind, found.where) == (FindingKind.RECORD, 'audit["a"] item 1')


async def test_a_time_that_the_index_forgets(monkeypatch):
    """The index of a kernel that has loaded the state is looked at, not the rows alone."""
    assert await findings_of(row(deferred_until=9), row("b")) == ()
    monkeypatch.setattr("kernelckpt.kernel.table._timer_of", lambda row: None)
    (found,) = await findings_of(row(deferred_until=9), row("b"))
    assert str(found) == 'task["a"]: it is deferred until 9, but no timer wakes it'


async def test_odd_rate_slots_are_notes():
    limited = policy(default_rate_limit=None, rate_limits=(ToolRateLimit("mail", 1, 1000),))
    slots = [rate("mail", 1, at_ms=1), rate("mail", 2, at_ms=2**50), rate("fax", 3, at_ms=1)]
    slots += [rate(name, number, at_ms=1) for number, name in enumerate(("spawn", MEMORY_WRITES), 4)]
    report = await report_on(limited, *slots)
    assert report.findings == ()
    assert report.notes == (
        "1 rate slots of 'mail' are from the future: they count until the clock is past them",
        "1 rate slots of 'fax' count for nothing: the kept policy does not limit it",
        "1 rate slots of 'spawn' count for nothing: the kept policy does not limit it",
        "1 rate slots of 'memory:write' count for nothing: the kept policy does not limit it",
    )
    quota = ResourceQuota(memory_writes_per_window=(1, 1000))
    assert (await report_on(policy(quota=quota), *slots[2:3], slots[4])).notes == ()
    assert len((await report_on(slots[0])).notes) == 1


async def test_long_chains_need_no_recursion():
    count = 20_000
    joins = [
        child(
            f"t{n}",
            f"t{n - 1}",
            state=TaskState.SUSPENDED,
            wait=WaitReason.sub_agent_join([f"t{n + 1}"]),
            spawned=1,
        )
        for n in range(1, count)
    ]
    first = suspended(WaitReason.sub_agent_join(["t1"]), "t0", spawned=1)
    assert await findings_of(first, *joins, child(f"t{count}", f"t{count - 1}")) == ()


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 7)), min_size=8, max_size=8))
async def test_circles_of_parents_are_found_exactly(parents):
    records = [
        row(str(index), spawned=8) if parent is None else child(str(index), str(parent), spawned=8)
        for index, parent in enumerate(parents)
    ]
    found = [finding.where for finding in await findings_of(*records) if "own ancestor" in finding.text]
    circles = {circle for index in range(8) if (circle := _circle_of(parents, index))}
    assert len(found) == len(circles)
    assert all(sum(f'task["{index}"]' in found for index in circle) == 1 for circle in circles)


def _circle_of(parents, index):
    """The tasks on the circle that this one is on; None when it is on none."""
    path, task = [index], parents[index]
    while task is not None and task not in path:
        path.append(task)
        task = parents[task]
    return frozenset(path) if task == index else None
