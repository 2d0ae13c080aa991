"""Session events as JSON data."""

from __future__ import annotations

import json
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.kernel.events.event_log import has_required_categories, rebuild_os_snapshot_from_events
from kernelckpt.kernel.events.session_log import KINDS, ReadEvents, read_events, write_events
from kernelckpt.model.event import (
    LlmCompleted,
    RunStarted,
    SessionEvent,
    ToolArgumentRepaired,
    ToolCompleted,
    ToolRequested,
    ToolResult,
)
from kernelckpt.model.message import Image, Message, Role, Text, ToolCall, ToolResultPart
from kernelckpt.model.os_event import AgentForgotten, MilestoneAdvanced, PageIn, PageOut, Suspended
from kernelckpt.model.os_snapshot import OsSnapshot, ProcessRecord, SignalDisposedRecord, SuspendRecord

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
PLAIN = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def values_of(hint):
    """A strategy for every value of a field's type."""
    if get_origin(hint) is Annotated:
        bounds = next(meta for meta in get_args(hint) if isinstance(meta, msgspec.Meta))
        return st.integers(bounds.ge, bounds.le)
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([values_of(choice) for choice in get_args(hint)])
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if items[-1] is Ellipsis:
            return st.lists(values_of(items[0]), max_size=3).map(tuple)
        return st.tuples(*map(values_of, items))
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(), PLAIN, max_size=3)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint, include_extras=True)
        return st.builds(hint, **{name: values_of(hints[name]) for name in hint.__struct_fields__})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return {str: st.text(), bool: st.booleans(), type(None): st.none(), Any: PLAIN}[hint]


@pytest.mark.parametrize("kind", get_args(SessionEvent), ids=lambda kind: kind.__struct_config__.tag)
@given(data=st.data())
def test_every_kind_comes_back_as_it_was(kind, data):
    event = data.draw(values_of(kind))
    written = json.loads(json.dumps(write_events([event])))
    assert read_events(written) == ReadEvents((event,), {}, (0,))
    assert write_events(read_events(written).events) == written


# What is written: required fields, then optional ones that are always written, of every kind

WRITTEN = {
    "run_started": "run_id goal criteria agent_id system_prompt",
    "llm_completed": "turn message",
    "tool_requested": "turn calls",
    "tool_completed": "turn results",
    "compressed": "turn archived_seq_range",
    "page_out": "turn message_count",
    "page_in": "turn entry_count",
    "large_result_spooled": "turn call_id tool original_size preview_size",
    "run_terminal": "reason turns_used total_tokens",
    "tool_argument_repaired": "turn tool original_arguments repaired_arguments",
    "permission_requested": "turn tool arguments",
    "permission_resolved": "turn approved responder",
    "tool_denied": "turn call_id tool_name reason",
    "capability_changed": "turn",
    "context_renewed": "turn sprint handoff_ref",
    "suspended": "turn reason",
    "resumed": "turn",
    "tool_gated": "turn call_id tool reason",
    "signal_disposed": "turn signal_id disposition queue_depth",
    "budget_exceeded": "turn budget",
    "checkpoint_taken": "turn history_len",
    "rollbacked": "turn checkpoint_history_len",
    "cleanup_completed": "run_id freed_resources",
    "agent_process_changed": "turn agent_id parent_session_id role isolation context_inheritance state",
    "milestone_advanced": "turn phase_id capabilities_unlocked",
    "milestone_blocked": "turn phase_id reason",
    "milestone_evidence": "turn phase_id",
    "memory_written": "turn memory_id memory_kind size_bytes",
    "memory_queried": "turn query_context requested_k requires_async_response",
    "memory_validation_failed": "turn memory_id error",
    "memory_retrieval_result": "retrieval",
}
"""The fields that an event of each kind always has."""

OPTIONAL = {
    "llm_completed": "provider_replay",
    "compressed": "action summary summary_tokens archive_ref preserved_refs category primitive",
    "page_out": "action summary tier_hint category primitive",
    "large_result_spooled": "spool_ref category primitive",
    "permission_requested": "reason",
    "capability_changed": "added removed change_kind capability_id version mounted_by mount_reason "
    "category primitive",
    "suspended": "pending_calls category primitive",
    "resumed": "approved denied category primitive",
    "rollbacked": "reason category primitive",
    "agent_process_changed": "permitted_capability_ids result_termination category primitive",
    "milestone_evidence": "evidence category primitive",
}
"""The fields that are left out when they are not there; a kind not named here has at most a category."""

NEVER_OS = {
    "run_started",
    "tool_requested",
    "tool_completed",
    "run_terminal",
    "tool_argument_repaired",
    "permission_resolved",
    "tool_denied",
    "cleanup_completed",
    "memory_retrieval_result",
}


@pytest.mark.parametrize("kind", get_args(SessionEvent), ids=lambda kind: kind.__struct_config__.tag)
def test_every_kind_has_the_fields_of_the_original(kind):
    tag = kind.__struct_config__.tag
    optional = OPTIONAL.get(tag, "" if tag in NEVER_OS else "category primitive")
    assert set(kind.__struct_fields__) == {*WRITTEN[tag].split(), *optional.split()}


@pytest.mark.parametrize("kind", get_args(SessionEvent), ids=lambda kind: kind.__struct_config__.tag)
def test_every_kind_writes_what_the_original_always_writes(kind):
    required = kind.__struct_fields__[: len(kind.__struct_fields__) - len(kind.__struct_defaults__)]
    hints = get_type_hints(kind, include_extras=True)
    event = kind(
        **{name: least_of(hints[name]) for name in required if name not in {"category", "primitive"}}
    )
    (form,) = write_events([event])
    assert set(form) == {"kind", *WRITTEN[kind.__struct_config__.tag].split()}


def least_of(hint):
    """The emptiest value of a field's type."""
    if get_origin(hint) is Annotated:
        return 0
    if get_origin(hint) is tuple:
        return () if get_args(hint)[-1] is Ellipsis else tuple(map(least_of, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint, include_extras=True)
        required = hint.__struct_fields__[: len(hint.__struct_fields__) - len(hint.__struct_defaults__)]
        return hint(**{name: least_of(hints[name]) for name in required})
    return {str: "", bool: False, Any: None, Role: Role.USER}[hint]


def test_there_are_31_kinds():
    assert {*WRITTEN} == KINDS
    assert len(KINDS) == 31


def test_run_started_writes_its_nulls():
    assert write_events([RunStarted("r", "g")]) == [
        {
            "kind": "run_started",
            "run_id": "r",
            "goal": "g",
            "criteria": [],
            "agent_id": None,
            "system_prompt": None,
        }
    ]


def test_defaults_that_the_original_writes_are_written():
    assert write_events([PageOut(1), MilestoneAdvanced(2, "a"), Suspended(3, "ask_user")]) == [
        {"kind": "page_out", "turn": 1, "message_count": 0},
        {"kind": "milestone_advanced", "turn": 2, "phase_id": "a", "capabilities_unlocked": []},
        {"kind": "suspended", "turn": 3, "reason": "ask_user"},
    ]


def test_messages_calls_and_results_are_written_in_full():
    call, part = ToolCall("c", "t"), ToolResultPart("c", "")
    events = [
        LlmCompleted(1, Message(Role.ASSISTANT, tool_calls=(call,))),
        LlmCompleted(2, Message.assistant("")),
        ToolRequested(3, (call,)),
        ToolCompleted(4, (ToolResult("c", (part, Text("x"), Image("u")), is_error=False),)),
    ]
    call_form = {"id": "c", "name": "t", "arguments": {}}
    output = [
        {"type": "tool_result", "call_id": "c", "output": "", "is_error": False},
        {"type": "text", "text": "x"},
        {"type": "image", "url": "u"},
    ]
    result = {"call_id": "c", "output": output, "is_error": False, "is_fatal": False, "token_count": None}
    message = {"role": "assistant", "content": "", "tool_calls": [call_form]}
    assert write_events(events) == [
        {"kind": "llm_completed", "turn": 1, "message": message},
        {"kind": "llm_completed", "turn": 2, "message": {"role": "assistant", "content": ""}},
        {"kind": "tool_requested", "turn": 3, "calls": [call_form]},
        {"kind": "tool_completed", "turn": 4, "results": [result]},
    ]


def test_provider_replay_round_trips_unknown_envelope_fields():
    replay = {"native_blocks": None, "reasoning_content": "because", "vendor": {"x": [1, 2.5, None]}, "": 0}
    forms = [
        {
            "kind": "llm_completed",
            "turn": 1,
            "message": {"role": "assistant", "content": "hi"},
            "provider_replay": replay,
        }
    ]
    (event,) = read_events(forms).events
    assert event.provider_replay == replay
    assert json.dumps(write_events([event])) == json.dumps(forms)


def test_what_is_read_shares_nothing_with_the_data():
    forms = [
        {"kind": "tool_requested", "turn": 1, "calls": [{"id": "c", "name": "t", "arguments": {"x": [1]}}]}
    ]
    (event,) = read_events(forms).events
    forms[0]["calls"][0]["arguments"]["x"].append(2)
    assert event.calls[0].arguments == {"x": [1]}
    write_events([event])[0]["calls"][0]["arguments"]["x"].append(3)
    assert event.calls[0].arguments == {"x": [1]}


# Unknown kinds

PAGE_IN = {"kind": "page_in", "turn": 1, "entry_count": 2}
STRANGE = {"kind": "workflow_completed", "turn": 1, "nodes": ["a"]}


def test_an_unknown_kind_fails_with_its_position():
    with pytest.raises(DecodeError, match=r"events\[1\]\.kind: 'workflow_completed'") as caught:
        read_events([PAGE_IN, STRANGE])
    assert caught.value.path == "events[1].kind"
    assert "skip" in caught.value.hint


def test_unknown_kinds_are_skipped_and_counted():
    read = read_events([STRANGE, PAGE_IN, {"kind": "renewed"}, STRANGE, PAGE_IN], unknown="skip")
    assert read == ReadEvents((PageIn(1, 2), PageIn(1, 2)), {"workflow_completed": 2, "renewed": 1}, (1, 4))


def test_there_is_no_third_choice():
    with pytest.raises(InvalidValueError, match="maybe"):
        read_events([], unknown="maybe")


# All else is strict

MESSAGE = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "t", "arguments": {}}]}
RESULT = {"call_id": "c", "output": "", "is_error": False}
PART = {"type": "tool_result", "call_id": "c", "output": ""}


@pytest.mark.parametrize("unknown", ["fail", "skip"])
@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("page_in", ""),
        ({}, ".kind"),
        ({"kind": 3}, ".kind"),
        ({"kind": None}, ".kind"),
        ({**PAGE_IN, "extra": 1}, ".extra"),
        ({"kind": "page_in", "turn": 1}, ".entry_count"),
        ({**PAGE_IN, "turn": -1}, ".turn"),
        ({**PAGE_IN, "turn": 1.0}, ".turn"),
        ({**PAGE_IN, "turn": True}, ".turn"),
        ({**PAGE_IN, "turn": "1"}, ".turn"),
        ({**PAGE_IN, "entry_count": 2**32}, ".entry_count"),
        ({**PAGE_IN, "category": "kernel"}, ".category"),
        ({"kind": "compressed", "turn": 1, "archived_seq_range": [0]}, ".archived_seq_range"),
        ({"kind": "budget_exceeded", "turn": 1, "budget": "\ud800"}, ".budget"),
        (
            {"kind": "tool_argument_repaired", "turn": 1, "tool": "t", "original_arguments": float("nan")},
            ".original_arguments",
        ),
        ({"kind": "llm_completed", "turn": 1, "message": {"role": "robot", "content": ""}}, ".message.role"),
        ({"kind": "llm_completed", "turn": 1, "message": {"role": "user"}}, ".message.content"),
        (
            {"kind": "llm_completed", "turn": 1, "message": {"role": "tool", "content": [PART]}},
            ".message.content[0].is_error",
        ),
        (
            {
                "kind": "llm_completed",
                "turn": 1,
                "message": {**MESSAGE, "tool_calls": [{"id": "", "name": ""}]},
            },
            ".message.tool_calls[0].arguments",
        ),
        (
            {
                "kind": "tool_requested",
                "turn": 1,
                "calls": [MESSAGE["tool_calls"][0], {"id": "", "name": ""}],
            },
            ".calls[1].arguments",
        ),
        (
            {"kind": "tool_completed", "turn": 1, "results": [RESULT, {"call_id": "c", "output": ""}]},
            ".results[1].is_error",
        ),
        (
            {"kind": "tool_completed", "turn": 1, "results": [{**RESULT, "output": [PART]}]},
            ".results[0].output[0].is_error",
        ),
        (
            {"kind": "tool_completed", "turn": 1, "results": [{**RESULT, "error_kind": "odd"}]},
            ".results[0].error_kind",
        ),
    ],
)
def test_wrong_data_is_refused_with_its_path(form, path, unknown):
    with pytest.raises(DecodeError) as caught:
        read_events([PAGE_IN, form], unknown=unknown)
    assert caught.value.path == f"events[1]{path}"
    assert caught.value.message.startswith(f"events[1]{path}: ")
    assert caught.value.hint


@pytest.mark.parametrize("forms", [{}, "[]", None, {"kind": "page_in"}])
def test_a_log_is_a_list(forms):
    with pytest.raises(DecodeError, match="events: not a list"):
        read_events(forms)


def test_data_nested_too_deeply_is_refused():
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(DecodeError, match="deeper"):
        read_events([{**PAGE_IN, "turn": deep}])


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("inf"), "events[1].original_arguments"),
        ({"x": [{1: 2}]}, "events[1].original_arguments.x[0]"),
        (object(), "events[1]"),
    ],
)
def test_what_json_has_not_is_not_written(value, path):
    with pytest.raises(InvalidValueError) as caught:
        write_events([PageIn(1, 2), ToolArgumentRepaired(1, "t", value, {})])
    assert caught.value.path == path
    assert caught.value.message.startswith(f"{path}: ")


def test_what_the_kernel_notes_for_itself_is_not_written():
    with pytest.raises(InvalidValueError, match="AgentForgotten") as caught:
        write_events([PageIn(1, 2), AgentForgotten("child-1")])
    assert caught.value.path == "events[1]"


# Logs as the original's hosts write them

CHILD = {
    "kind": "agent_process_changed",
    "agent_id": "child-1",
    "parent_session_id": "parent",
    "role": "implement",
    "isolation": "shared",
    "context_inheritance": "none",
    "category": "proc",
    "primitive": "sched",
}
SCHED = {"category": "sched", "primitive": "sched"}
SPAWN_LIFECYCLE = [
    {**CHILD, "turn": 1, "state": "running"},
    {
        "kind": "signal_disposed",
        "turn": 2,
        "signal_id": "sig-a",
        "disposition": "queue",
        "queue_depth": 1,
        "category": "ipc",
        "primitive": "sched",
    },
    {"kind": "suspended", "turn": 3, "reason": "sub_agent_await", "pending_calls": ["child-1"], **SCHED},
    {**CHILD, "turn": 4, "state": "joined", "result_termination": "completed"},
    {"kind": "resumed", "turn": 5, "approved": ["child-1"], **SCHED},
]
ASK_USER = [
    {
        "kind": "tool_gated",
        "turn": 2,
        "call_id": "c1",
        "tool": "write",
        "reason": "ask",
        "category": "syscall",
        "primitive": "syscall",
    },
    {"kind": "suspended", "turn": 2, "reason": "ask_user", "pending_calls": ["c1"], **SCHED},
    {"kind": "resumed", "turn": 3, "approved": ["c1"], **SCHED},
]


@pytest.mark.parametrize(
    ("forms", "view"),
    [
        (
            SPAWN_LIFECYCLE,
            OsSnapshot(
                last_suspend=SuspendRecord(3, "sub_agent_await", ("child-1",)),
                last_resumed_turn=5,
                process_by_agent=(ProcessRecord(4, "child-1", "parent", "joined"),),
                signals=(SignalDisposedRecord(2, "sig-a", "queue", 1),),
            ),
        ),
        (
            ASK_USER,
            OsSnapshot(
                last_suspend=SuspendRecord(2, "ask_user", ("c1",)), last_resumed_turn=3, tool_gated_count=1
            ),
        ),
    ],
    ids=["spawn_lifecycle", "ask_user"],
)
def test_golden_logs_rebuild_and_are_written_again_alike(forms, view):
    events = read_events(forms).events
    assert has_required_categories(events)
    assert rebuild_os_snapshot_from_events(events) == view
    assert write_events(events) == forms
