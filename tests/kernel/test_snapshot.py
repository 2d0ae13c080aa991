"""Snapshots: the original's fields and shape, and everything given back exactly."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from kernelckpt.codec.record import decode_record
from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.kernel.snapshot import records_of
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.approval import Approval
from kernelckpt.model.budget import BudgetLedger, SchedulerBudget
from kernelckpt.model.context import Context, Plan, PlanStep
from kernelckpt.model.effect import Effect
from kernelckpt.model.governance import AuditEntry, AuditVerdict, GovernancePolicy, Range, RateSlot
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.message import Audio, Image, Message, Role, Text, ToolCall
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.os_event import BudgetExceeded
from kernelckpt.model.os_snapshot import OsSnapshot, ProcessRecord
from kernelckpt.model.process import AgentRole, ContextInheritance, ProcInfo
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.signal import QueuedSignal, RuntimeSignal, SignalSource, SignalType, Urgency
from kernelckpt.model.snapshot import (
    ContextSnapshot,
    KernelSnapshot,
    ProcInfoSnapshot,
    TcbSnapshot,
    restore_tcb,
)
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

BUDGET = SchedulerBudget()
PROC = ProcInfo("root", AgentRole.IMPLEMENT, context_inheritance=ContextInheritance.FULL)
DONE = TaskState.done(TerminationReason.COMPLETED)
SPEC = AgentRunSpec.new(AgentIdentity.new("a", "s"), AgentRole.PLAN, "build")


def snapshot_of(*rows, context=None, **more):
    return replace(KernelSnapshot.from_state(0, 0, rows, context or ContextSnapshot()), **more)


def form_of(*rows, **more):
    """A snapshot's JSON data, to be spoilt."""
    return snapshot_of(*rows, **more).to_dict()


def child_with(result):
    return Tcb(
        "child",
        "root",
        state=TaskState.done(result.termination),
        proc=replace(PROC, result=result_of(result)),
    )


def result_of(result):
    return SubAgentResult("child", result)


# The tests of the original.


def test_tcb_snapshot_roundtrip():
    row = Tcb(
        "test-task",
        budget=BudgetLedger(SchedulerBudget(128_000, 10, 1000, 60_000), turns=5, total_tokens=500),
        deferred_until=1000,
    )
    flat = TcbSnapshot.from_tcb(row)
    assert (flat.id, flat.turns, flat.total_tokens, flat.deferred_until) == ("test-task", 5, 500, 1000)
    assert (flat.max_tokens, flat.max_turns, flat.max_total_tokens, flat.max_wall_ms) == (
        128_000,
        10,
        1000,
        60_000,
    )


def test_kernel_snapshot_serializes():
    snapshot = KernelSnapshot.from_state(1, 100, [], ContextSnapshot(), None)
    again = KernelSnapshot.from_json(snapshot.to_json())
    assert (again.turn, again.total_tokens) == (1, 100)
    assert again == snapshot


def test_context_snapshot_captures_fields():
    context = ContextSnapshot(system_messages=(Message.system("You are"),), task_goal="Build something")
    assert len(context.system_messages) == 1
    assert context.task_goal == "Build something"


def test_snapshot_from_state_captures_tasks():
    table = TaskTable().insert(Tcb.root("root", BUDGET)).insert(Tcb.root("child", BUDGET))
    snapshot = KernelSnapshot.from_state(5, 1000, table, ContextSnapshot())
    assert (snapshot.turn, snapshot.total_tokens, len(snapshot.tasks)) == (5, 1000, 2)
    assert snapshot.run_spec() is None


def test_context_snapshot_from_manager():
    context = Context(plan=Plan(goal="Test goal"), max_tokens=1000)
    flat = ContextSnapshot.from_context(context, system=[Message(Role.SYSTEM, "rules", token_count=10)])
    assert len(flat.system_messages) == 1
    assert (flat.task_goal, flat.max_tokens, flat.task_plan) == ("Test goal", 1000, None)


def test_tcb_restore_roundtrip():
    row = Tcb.root("root", BUDGET)
    again = restore_tcb(TcbSnapshot.from_tcb(row))
    assert (again.id, again.state, again.budget.turns) == (row.id, row.state, 0)
    assert again == row


def test_tcb_restore_with_wait_reason():
    row = Tcb("root", wait=WaitReason.sub_agent_join(["child-1", "child-2"]))
    wait = restore_tcb(TcbSnapshot.from_tcb(row)).wait
    assert wait.kind is WaitKind.SUB_AGENT_JOIN
    assert wait.children == ("child-1", "child-2")


def test_kernel_snapshot_to_os_process_records():
    root = Tcb("root", state=TaskState.RUNNING)
    child = Tcb("child-1", "root", state=DONE, budget=BudgetLedger(turns=3), proc=PROC, changed_turn=7)
    snapshot = snapshot_of(root, child)
    assert snapshot.to_os_process_records() == [ProcessRecord(3, "child-1", "root", "done")]
    assert snapshot.to_mapped_process_records() == [ProcessRecord(7, "child-1", "root", "joined")]


# Shape.


def test_json_of_a_fresh_row_is_the_originals():
    written = KernelSnapshot.from_state(1, 100, [Tcb.root("root", BUDGET)], ContextSnapshot()).to_dict()
    assert json.dumps(written, separators=(",", ":")) == (
        '{"turn":1,"total_tokens":100,"tasks":[{"id":"root","parent":null,"state":"ready","turns":0,'
        '"total_tokens":0,"started_at_ms":null,"max_tokens":128000,"max_turns":25,'
        '"max_total_tokens":1000000,"max_wall_ms":null,"wait_reason":null,"wait_children":null,'
        '"deferred_until":null,"caps":[],"proc":null}],"context":{"system_messages":[],'
        '"knowledge_messages":[],"task_goal":null,"task_plan":null,"task_progress":null,'
        '"task_open_steps":[],"task_directives":[],"history_messages":[],"signals":[],"max_tokens":0,'
        '"sprint":0},"run_spec":null}'
    )


def test_states_waits_and_results_are_spelt_as_the_original_meant():
    result = LoopResult(TerminationReason.TIMEOUT, Message.assistant(""), 2, 42)
    waiting = Tcb("root", state=TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["child"]))
    root, child = form_of(waiting, child_with(result))["tasks"]
    assert (root["state"], root["wait_reason"], root["wait_children"]) == (
        "suspended",
        "sub_agent_join",
        ["child"],
    )
    assert child["state"] == {"done": "timeout"}
    assert child["proc"]["result"] == {
        "termination": "timeout",
        "agent_id": "child",
        "final_message": {"role": "assistant", "content": ""},
        "turns_used": 2,
        "total_tokens_used": 42,
    }


def test_messages_are_written_whole():
    history = [
        Message.assistant("", [ToolCall("c1", "list")]),
        Message.tool_result("c1", "a\nb"),
        Message.user_multimodal([Text("look"), Image(url="x"), Audio("AA==", "audio/wav")]),
    ]
    flat = ContextSnapshot.from_context(Context(), history=history)
    written = form_of(context=flat)["context"]["history_messages"]
    assert written == [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": "list", "arguments": {}}]},
        {
            "role": "tool",
            "content": [{"type": "tool_result", "call_id": "c1", "output": "a\nb", "is_error": False}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "url": "x"},
                {"type": "audio", "data": "AA==", "media_type": "audio/wav"},
            ],
        },
    ]


def test_the_plan_is_told_twice():
    plan = Plan("goal", ("tests pass",), (PlanStep("\u00e9tape", done=True), PlanStep("b")), 1, "half")
    flat = ContextSnapshot.from_context(Context(plan=plan))
    assert flat.task_plan == '[{"label":"\u00e9tape","done":true},{"label":"b","done":false}]'
    assert flat.task_open_steps == ("b",)
    assert flat.context().plan == plan
    alone = replace(flat, plan=None)
    assert alone.whole_plan() == Plan("goal", plan=plan.plan, progress="half")


def test_run_spec_is_an_object_and_is_read_as_text_too():
    form = form_of(spec=replace(SPEC, metadata={"k": [1]}))
    assert form["run_spec"]["identity"]["agent_id"] == "a"
    text = {**form, "run_spec": json.dumps(form["run_spec"])}
    assert KernelSnapshot.from_dict(text) == KernelSnapshot.from_dict(form)
    assert KernelSnapshot.from_dict(text).run_spec().metadata == {"k": [1]}


def test_a_snapshot_of_the_original_is_read():
    form = form_of(Tcb.root("root", BUDGET), child_with(LoopResult(TerminationReason.MAX_TURNS)))
    del form["run_spec"], form["context"]["task_directives"], form["context"]["task_goal"]
    for name in ("parent", "started_at_ms", "max_wall_ms", "wait_reason", "wait_children", "proc"):
        del form["tasks"][0][name]
    form["tasks"][1]["proc"]["result"] = {"termination": "MaxTurns"}
    snapshot = KernelSnapshot.from_dict(form)
    assert restore_tcb(snapshot.tasks[0]) == Tcb.root("root", BUDGET)
    restored = restore_tcb(snapshot.tasks[1]).proc.result
    assert restored == SubAgentResult("child", LoopResult(TerminationReason.MAX_TURNS))


@pytest.mark.parametrize("reason", TerminationReason)
def test_every_termination_survives_with_its_whole_result(reason):
    result = LoopResult(reason, Message.assistant("bye"), 3, 4, False, "left", "w", "oops", {"n": [1, b"\0"]})
    row = child_with(result)
    again = KernelSnapshot.from_json(snapshot_of(row).to_json())
    assert restore_tcb(again.tasks[0]) == row
    debug = reason.value.title().replace("_", "")
    form = form_of(row)
    form["tasks"][0]["proc"]["result"]["termination"] = debug
    assert KernelSnapshot.from_dict(form) == again


def test_what_is_read_shares_nothing_with_what_was_given():
    form = form_of(spec=replace(SPEC, metadata={"k": [1]}))
    snapshot = KernelSnapshot.from_dict(form)
    form["run_spec"]["metadata"]["k"].append(2)
    snapshot.to_dict()["run_spec"]["metadata"]["k"].append(3)
    assert snapshot.run_spec().metadata == {"k": [1]}


SIGNAL = (SignalSource.CRON, SignalType.EVENT, Urgency.NORMAL, "tick")


# Strictness.


def spoil(form, where, value):
    """The form with the value at a path like `tasks.0.state`; UNSET removes the key."""
    *parents, last = where.split(".")
    place = form
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    last = int(last) if isinstance(place, list) else last
    if value is UNSET:
        del place[last]
    else:
        place[last] = value
    return form


FULL = form_of(
    Tcb("root", state=TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["child"])),
    child_with(LoopResult(TerminationReason.COMPLETED)),
    context=ContextSnapshot.from_context(
        Context(plan=Plan(plan=(PlanStep("a"),))), history=[Message.user("hi")]
    ),
    spec=SPEC,
    contexts={"root": ContextSnapshot()},
    inbox={"root": {4: InboxEntry(Message.user("x"))}},
    effects={"root": {3: Effect("send", b"\0" * 16)}},
    milestones={"root": MilestoneProgress("p")},
    rates={1: RateSlot("tool", 5)},
    governance=GovernancePolicy(constraints=(Range("tool", "size", 0.5, 2.0),)),
    events=(BudgetExceeded(1, "max_turns"),),
    audits={"root": (AuditEntry("tool", "c1", AuditVerdict.DENY),)},
)

SPOILT = [
    ("turn", -1, "turn"),
    ("turn", True, "turn"),
    ("turn", 1.0, "turn"),
    ("turn", 2**64, "turn"),
    ("turn", "1", "turn"),
    ("turn", UNSET, "turn"),
    ("tasks", None, "tasks"),
    ("extra", 1, "extra"),
    ("tasks.0", 7, "tasks[0]"),
    ("tasks.0.turns", -1, "tasks[0].turns"),
    ("tasks.0.max_turns", 2**32, "tasks[0].max_turns"),
    ("tasks.0.max_turns", UNSET, "tasks[0].max_turns"),
    ("tasks.1.surprise", 1, "tasks[1].surprise"),
    ("tasks.1.state", "paused", "tasks[1].state"),
    ("tasks.1.state", "done", "tasks[1].state"),
    ("tasks.1.state", {"done": "bored"}, "tasks[1].state"),
    ("tasks.1.state", {"done": "error", "x": 1}, "tasks[1].state"),
    ("tasks.1.state", {"done": ["error"]}, "tasks[1].state"),
    ("tasks.1.state", 3, "tasks[1].state"),
    ("tasks.1.state", UNSET, "tasks[1].state"),
    ("tasks.0.wait_reason", "boredom", "tasks[0].wait_reason"),
    ("tasks.0.wait_reason", "approval", "tasks[0]"),
    ("tasks.0.wait_children", None, "tasks[0]"),
    ("tasks.1.wait_note", "why", "tasks[1]"),
    ("tasks.1.proc.role", "boss", "tasks[1].proc.role"),
    ("tasks.1.proc.role", UNSET, "tasks[1].proc.role"),
    ("tasks.1.proc.result.termination", "Bored", "tasks[1].proc.result.termination"),
    ("tasks.1.caps", None, "tasks[1].caps"),
    ("tasks.1.id", "\ud800", "tasks[1].id"),
    ("context", UNSET, "context"),
    ("context.signals", UNSET, "context.signals"),
    ("context.sprint", UNSET, "context.sprint"),
    ("context.task_plan", "[", "context.task_plan"),
    ("context.task_plan", '[{"label": 1}]', "context.task_plan[0].label"),
    ("context.task_plan", '[{"label":"b","done":false}]', "context.task_open_steps"),
    ("context.task_goal", "another", "context.task_goal"),
    ("context.task_open_steps", [], "context.task_open_steps"),
    ("context.history_messages.0.role", "boss", "context.history_messages[0].role"),
    ("context.history_messages.0.content", UNSET, "context.history_messages[0].content"),
    (
        "context.history_messages.0.content",
        [{"type": "smell"}],
        "context.history_messages[0].content[0].type",
    ),
    ("contexts.root.max_tokens", -1, 'contexts["root"].max_tokens'),
    ("contexts.root.signals", UNSET, 'contexts["root"].signals'),
    ("contexts.root.task_open_steps", ["x"], 'contexts["root"].task_open_steps'),
    ("contexts.root", None, 'contexts["root"]'),
    ("inbox.root.4", {}, 'inbox["root"][4]'),
    ("inbox.root", [], 'inbox["root"]'),
    ("inbox.root.04", {}, 'inbox["root"]'),
    ("inbox.root.-1", {}, 'inbox["root"]'),
    ("inbox.root.\u0664", {}, 'inbox["root"]'),
    ("inbox.root.x", {}, 'inbox["root"]'),
    (f"inbox.root.{2**63}", {}, 'inbox["root"]'),
    (f"inbox.root.{'9' * 30}", {}, 'inbox["root"]'),
    ("effects.root.3.status", "lost", 'effects["root"][3].status'),
    ("effects.root.3.runs", True, 'effects["root"][3].runs'),
    ("effects.root.3.digest", {"$bytes": 7}, "effects.root.3.digest.$bytes"),
    ("milestones.root.phase_id", UNSET, 'milestones["root"].phase_id'),
    ("milestones.root.blocked_count", 1.0, 'milestones["root"].blocked_count'),
    ("rates.1.at_ms", -1, "rates[1].at_ms"),
    ("rates.01", {"name": "tool", "at_ms": 5}, "rates"),
    ("governance.default_action", "maybe", "governance.default_action"),
    ("governance.constraints.0.kind", "wish", "governance.constraints[0].kind"),
    ("governance.constraints.0.min", float("nan"), "governance.constraints[0].min"),
    ("governance.surprise", 1, "governance.surprise"),
    ("events.0.kind", "miracle", "events[0].kind"),
    ("events.0.turn", UNSET, "events[0].turn"),
    ("audits.root.0.verdict", "\ud800", "audits.root[0].verdict"),
    ("contexts.root.config", {"snip_threshold": "high"}, 'contexts["root"].config.snip_threshold'),
    ("contexts.root.last_handoff", {"goal": "g"}, 'contexts["root"].last_handoff.sprint'),
    ("run_spec", "{", "run_spec"),
    ("run_spec", '{"role": "plan", "role": "plan"}', "run_spec"),
    ("run_spec.identity.session_id", UNSET, "run_spec.identity.session_id"),
    ("run_spec.metadata", float("nan"), "run_spec.metadata"),
    ("run_spec.metadata", {1: 2}, "run_spec.metadata"),
    ("run_spec.metadata", {"$bytes": "?"}, "run_spec.metadata.$bytes"),
    ("run_spec.metadata", b"raw", "run_spec.metadata"),
    ("run_spec.metadata", object(), "run_spec.metadata"),
]


@pytest.mark.parametrize(("where", "value", "path"), SPOILT)
def test_what_is_off_is_an_error_with_its_path(where, value, path):
    KernelSnapshot.from_dict(FULL)
    with pytest.raises(DecodeError) as caught:
        KernelSnapshot.from_dict(spoil(deepcopy(FULL), where, value))
    assert caught.value.path == path
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "[]", "7", '{"turn": 1, "turn": 1}', "{", "[" * 100_000, '"x"', b"\xff"]
)
def test_text_that_is_no_snapshot(text):
    with pytest.raises(DecodeError):
        KernelSnapshot.from_json(text)


def test_what_is_no_plain_data_is_refused_when_written():
    with pytest.raises(InvalidValueError, match="object"):
        snapshot_of(spec=replace(SPEC, metadata=object())).to_dict()


def test_nesting_beyond_the_limit_is_refused_both_ways():
    deep = []
    for _ in range(300):
        deep = [deep]
    snapshot = snapshot_of(spec=replace(SPEC, metadata=deep))
    with pytest.raises(InvalidValueError, match="deeper"):
        snapshot.to_dict()
    with pytest.raises(DecodeError, match="deeper"):
        KernelSnapshot.from_dict(spoil(deepcopy(FULL), "run_spec.metadata", deep))


@pytest.mark.parametrize("value", [float("inf"), "\udfff", {"\ud800": 1}])
def test_what_json_cannot_hold_is_refused_when_written(value):
    snapshot = snapshot_of(spec=replace(SPEC, metadata=[value]))
    with pytest.raises(InvalidValueError) as caught:
        snapshot.to_dict()
    assert caught.value.path.startswith("run_spec.metadata[0]")


# What must hold before a kernel goes on from a snapshot; `from_dict` takes all of this, as the original does.


ROOT = Tcb("root", state=TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["child"]))
ASKED = Approval("root", "sure")


def whole(**more):
    """A snapshot that holds together, to be spoilt."""
    result = LoopResult(TerminationReason.COMPLETED, turns_used=2)
    child = replace(child_with(result), budget=BudgetLedger(turns=2, total_tokens=7), changed_turn=3)
    parts = {
        "turn": 3,
        "total_tokens": 7,
        "totals": KernelTotals(3, 7, signals=2),
        "contexts": {"root": ContextSnapshot(), "child": ContextSnapshot()},
        "spec": SPEC,
        "specs": {"root": SPEC},
        "approvals": {"root": {4: ASKED}},
        "queued_signals": {2: QueuedSignal(RuntimeSignal(*SIGNAL))},
        "processes": {"child": ProcessRecord(3, "child", "root", "joined")},
    }
    return snapshot_of(ROOT, child, **(parts | more))


def rows(*changes):
    """The rows of `whole`, each with some fields of its snapshot changed."""
    old = whole().tasks
    return {"tasks": tuple(replace(row, **change) for row, change in zip(old, changes, strict=False))}


TORN = [
    (rows({}, {"id": "root"}), "tasks[1].id"),
    (rows({"id": ""}, {}), "tasks[0].id"),
    (rows({}, {"parent": "ghost"}), "tasks[1].parent"),
    (rows({"parent": "child", "proc": whole().tasks[1].proc}, {}), "tasks[0].proc.result"),
    (rows({"parent": "child", "proc": ProcInfoSnapshot.of(PROC)}, {}), "tasks[0].parent"),
    (rows({}, {"proc": None}), "tasks[1].proc"),
    (rows({"wait_children": ("child", "ghost")}, {}), "tasks[0].wait_children[1]"),
    (rows({"wait_reason": None, "wait_children": None}, {}), "tasks[0].wait_reason"),
    (rows({"state": TaskState.RUNNING}, {}), "tasks[0].wait_reason"),
    (rows({}, {"proc": ProcInfoSnapshot.of(PROC)}), "tasks[1].proc.result"),
    (rows({}, {"state": TaskState.done(TerminationReason.ERROR)}), "tasks[1].proc.result.termination"),
    (rows({}, {"changed_turn": 4}), "tasks[1].changed_turn"),
    ({"states": {"ghost": Value(b"")}}, 'states["ghost"]'),
    ({"contexts": {"ghost": ContextSnapshot()}}, 'contexts["ghost"]'),
    ({"inbox": {"ghost": {1: InboxEntry(Message.user("x"))}}}, 'inbox["ghost"]'),
    ({"audits": {"ghost": ()}}, 'audits["ghost"]'),
    ({"approvals": {"child": {4: ASKED}}}, 'approvals["child"][4].task_id'),
    ({"approvals": {"root": {-1: ASKED}}}, 'approvals["root"][-1]'),
    ({"processes": {"root": ProcessRecord(3, "child", "root", "joined")}}, 'processes["root"].agent_id'),
    ({"context": ContextSnapshot(task_goal="another")}, "context"),
    ({"spec": None}, "run_spec"),
    ({"turn": 4}, "totals.turn"),
    ({"total_tokens": 8}, "totals.total_tokens"),
    ({"total_tokens": 6, "totals": KernelTotals(3, 6, signals=2)}, "totals.total_tokens"),
    ({"totals": KernelTotals(3, 7, signals=1)}, "queued_signals[2]"),
    ({"os_view": OsSnapshot(page_in_count=1)}, "os_view"),
]


@pytest.mark.parametrize(("change", "path"), TORN, ids=[path for _, path in TORN])
def test_a_snapshot_that_does_not_hold_together_is_data_but_no_state(change, path):
    assert records_of(whole()).records
    torn = replace(whole(), **change)
    if "-1" not in path:
        assert KernelSnapshot.from_json(torn.to_json()) == torn
    with pytest.raises(DecodeError) as caught:
        records_of(torn)
    assert caught.value.path == path
    assert caught.value.hint


@pytest.mark.parametrize(
    ("told", "path"),
    [({"spec": SPEC}, "run_spec"), ({"context": ContextSnapshot(signals=("x",))}, "context")],
)
def test_what_is_told_of_the_first_root_needs_one(told, path):
    assert records_of(snapshot_of(context=ContextSnapshot(max_tokens=64_000))).records
    with pytest.raises(DecodeError) as caught:
        records_of(snapshot_of(**told))
    assert caught.value.path == path


def test_rows_that_are_each_others_ancestors_are_found_in_long_chains():
    chain = [Tcb(f"t{n}", f"t{n - 1}", proc=PROC) for n in range(1, 5000)]
    found = records_of(snapshot_of(Tcb("t0"), *chain)).records
    assert [key[0] for key in found].count("task") == 5000
    with pytest.raises(DecodeError) as caught:
        records_of(snapshot_of(Tcb("t0", "t4999", proc=PROC), *chain))
    assert caught.value.path == "tasks[0].parent"


def test_totals_that_were_not_told_let_no_working_time_pass():
    started = Tcb("root", budget=BudgetLedger(turns=1, started_at_ms=500))
    told = replace(KernelSnapshot.from_state(3, 40, [started], ContextSnapshot()), queued_signals={})
    key = ("kernel", "", 0)
    assert decode_record(key, records_of(told).records[key]) == KernelTotals(3, 40, clock_ms=500)
