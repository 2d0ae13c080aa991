"""The replay view of the event log."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from kernelckpt.kernel.events.event_log import (
    VIEW_KEEPS,
    EventLog,
    has_required_categories,
    rebuild_os_snapshot_from_events,
)
from kernelckpt.model.event import MemoryRetrieval, MemoryRetrievalResult, RunStarted, SessionEvent
from kernelckpt.model.event_category import (
    KERNEL_OBSERVATION_KINDS,
    EventCategory,
    EventPrimitive,
    category_of,
    primitive_of,
)
from kernelckpt.model.os_event import (
    AgentForgotten,
    AgentProcessChanged,
    BudgetExceeded,
    MemoryQueried,
    MemoryWritten,
    PageOut,
    Resumed,
    SignalDisposed,
    Suspended,
    ToolGated,
    event_category,
    event_primitive,
    kind_of,
)
from kernelckpt.model.os_snapshot import (
    BudgetExceededRecord,
    OsSnapshot,
    ProcessRecord,
    SignalDisposedRecord,
    SuspendRecord,
)

EVENTS = msgspec.json.Decoder(tuple[SessionEvent, ...])

SPAWN_LIFECYCLE = b"""[
 {"kind": "agent_process_changed", "turn": 1, "agent_id": "child-1", "parent_session_id": "parent",
  "role": "implement", "isolation": "shared", "context_inheritance": "full", "state": "running",
  "category": "proc", "primitive": "sched"},
 {"kind": "signal_disposed", "turn": 2, "signal_id": "sig-a", "disposition": "queue", "queue_depth": 1,
  "category": "ipc", "primitive": "sched"},
 {"kind": "suspended", "turn": 3, "reason": "sub_agent_await", "pending_calls": ["child-1"],
  "category": "sched", "primitive": "sched"},
 {"kind": "agent_process_changed", "turn": 4, "agent_id": "child-1", "parent_session_id": "parent",
  "role": "implement", "isolation": "shared", "context_inheritance": "full", "state": "joined",
  "result_termination": "completed", "category": "proc", "primitive": "sched"},
 {"kind": "resumed", "turn": 5, "approved": ["child-1"], "category": "sched", "primitive": "sched"}
]"""

ASK_USER = b"""[
 {"kind": "tool_gated", "turn": 2, "call_id": "c1", "tool": "write", "reason": "ask",
  "category": "syscall", "primitive": "syscall"},
 {"kind": "suspended", "turn": 2, "reason": "ask_user", "pending_calls": ["c1"],
  "category": "sched", "primitive": "sched"},
 {"kind": "resumed", "turn": 3, "approved": ["c1"], "category": "sched", "primitive": "sched"}
]"""


def process(turn, state, agent="child-1"):
    return AgentProcessChanged(turn, agent, "parent", "implement", "shared", "full", state)


def test_rebuild_tracks_process_and_signals():
    events = [
        process(1, "running"),
        SignalDisposed(2, "sig", "queue", 1),
        Suspended(3, "ask_user", ("c1",)),
        process(4, "joined"),
    ]
    view = rebuild_os_snapshot_from_events(events)
    assert [record.state for record in view.process_by_agent] == ["joined"]
    assert len(view.signals) == 1
    assert view.last_suspend.reason == "ask_user"


def test_golden_os_snapshot_spawn_lifecycle_fixture():
    events = EVENTS.decode(SPAWN_LIFECYCLE)
    assert has_required_categories(events)
    assert rebuild_os_snapshot_from_events(events) == OsSnapshot(
        last_suspend=SuspendRecord(3, "sub_agent_await", ("child-1",)),
        last_resumed_turn=5,
        process_by_agent=(ProcessRecord(4, "child-1", "parent", "joined"),),
        signals=(SignalDisposedRecord(2, "sig-a", "queue", 1),),
    )


def test_golden_os_snapshot_ask_user_fixture():
    events = EVENTS.decode(ASK_USER)
    assert has_required_categories(events)
    assert rebuild_os_snapshot_from_events(events) == OsSnapshot(
        last_suspend=SuspendRecord(2, "ask_user", ("c1",)), last_resumed_turn=3, tool_gated_count=1
    )


def test_maps_observation_kinds_to_categories():
    kinds = ["tool_gated", "page_out", "agent_process_changed", "signal_disposed", "suspended", "unheard_of"]
    expected = ["syscall", "mm", "proc", "ipc", "sched", "sched"]
    assert [category_of(kind).value for kind in kinds] == expected


def test_kernel_observation_kinds_cover_abi_surface():
    assert {"page_out", "resumed"} <= set(KERNEL_OBSERVATION_KINDS)
    assert len(set(KERNEL_OBSERVATION_KINDS)) == 21


def test_categories_roll_up_to_three_primitives():
    rolled = {category.value: primitive_of(category).value for category in EventCategory}
    assert rolled == {"syscall": "syscall", "sched": "sched", "proc": "sched", "ipc": "sched", "mm": "mm"}


def test_every_kernel_observation_kind_maps_to_a_primitive():
    primitives = {kind: primitive_of(category_of(kind)) for kind in KERNEL_OBSERVATION_KINDS}
    assert set(primitives.values()) == set(EventPrimitive)
    assert primitives["agent_process_changed"] is primitives["signal_disposed"] is EventPrimitive.SCHED
    assert primitives["tool_gated"] is EventPrimitive.SYSCALL
    assert primitives["page_out"] is EventPrimitive.MM


def test_an_embedded_category_wins():
    event = Suspended(1, "x", category=EventCategory.IPC)
    assert (event_category(event), event_primitive(event)) == (EventCategory.IPC, EventPrimitive.SCHED)
    assert event_category(RunStarted("r", "g")) is EventCategory.SCHED


def test_there_are_31_kinds():
    kinds = {member.__struct_config__.tag for member in get_args(SessionEvent)}
    assert len(kinds) == 31


def test_run_started_writes_its_nulls():
    written = msgspec.to_builtins(RunStarted("r", "g"))
    assert list(written) == ["kind", "run_id", "goal", "criteria", "agent_id", "system_prompt"]


def test_an_unknown_kind_is_an_error():
    with pytest.raises(msgspec.ValidationError, match="nonsense"):
        EVENTS.decode(b'[{"kind": "nonsense", "turn": 1}]')


def test_only_memory_and_spooling_may_lack_a_category():
    assert has_required_categories([MemoryWritten(1, "m", "note", 3), RunStarted("r", "g")])
    assert not has_required_categories([PageOut(1)])


def test_a_resume_ends_a_suspension_of_its_own_turn():
    suspended, resumed = Suspended(2, "ask_user"), Resumed(2)
    assert rebuild_os_snapshot_from_events([resumed, suspended]).suspended
    assert not rebuild_os_snapshot_from_events([suspended, resumed]).suspended


def test_counters():
    events = [
        MemoryRetrievalResult(MemoryRetrieval(("m",), "")),
        MemoryQueried(1, "q", 3, requires_async_response=False),
        MemoryWritten(1, "m", "note", 3),
        PageOut(1),
        PageOut(2),
        ToolGated(2, "c", "t", "r"),
        BudgetExceeded(3, "max_turns"),
    ]
    view = rebuild_os_snapshot_from_events(events)
    assert (view.memory_retrieval_result_count, view.memory_queried_count, view.page_out_count) == (1, 1, 2)
    assert (view.memory_written_count, view.tool_gated_count, view.page_in_count) == (1, 1, 0)
    assert view.budget_exceeded == (BudgetExceededRecord(3, "max_turns"),)


def test_the_log_keeps_the_newest_and_counts_all():
    log = EventLog(keep=3, view_keeps=3)
    for turn in range(10):
        log.append(SignalDisposed(turn, f"s{turn}", "queue", 1))
        log.append(process(turn, "running", f"agent-{turn}"))
    assert [kind_of(event) for event in log.events] == [
        "agent_process_changed",
        "signal_disposed",
        "agent_process_changed",
    ]
    assert dict(log.counts) == {"signal_disposed": 10, "agent_process_changed": 10}
    assert [record.turn for record in log.view().signals] == [7, 8, 9]
    assert len(log.view().process_by_agent) == 10
    assert log.process("agent-0").turn == 0
    assert log.process("agent-10") is None


def test_a_replay_drops_what_was_forgotten():
    first, second = process(1, "running", "a"), process(2, "running", "b")
    events = [first, second, AgentForgotten("a"), process(3, "running", "a"), AgentForgotten("b")]
    views = [rebuild_os_snapshot_from_events(events[:n]) for n in range(6)]
    seen = [[record.agent_id for record in view.process_by_agent] for view in views]
    assert seen == [[], ["a"], ["a", "b"], ["b"], ["b", "a"], ["a"]]


def test_what_a_kernel_keeps_in_its_view_is_bounded_and_what_is_rebuilt_is_not():
    events = [SignalDisposed(turn, f"s{turn}", "queue", 1) for turn in range(2 * VIEW_KEEPS)]
    log = EventLog()
    for event in events:
        log.append(event)
    assert [record.turn for record in log.view().signals] == [*range(VIEW_KEEPS, 2 * VIEW_KEEPS)]
    assert len(rebuild_os_snapshot_from_events(events).signals) == 2 * VIEW_KEEPS


def test_folding_goes_on_from_a_view():
    events = EVENTS.decode(SPAWN_LIFECYCLE) + EVENTS.decode(ASK_USER)
    for cut in range(len(events) + 1):
        log = EventLog(keep=None, view=rebuild_os_snapshot_from_events(events[:cut]))
        for event in events[cut:]:
            log.append(event)
        assert log.view() == rebuild_os_snapshot_from_events(events)
