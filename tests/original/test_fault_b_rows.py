"""Faults of the original's task rows, each shown not to be repeated."""

import pytest
from msgspec.structs import replace
from original_kit import DONE, RUN, Memory, kernel_of, lead, listen, once, row, row_record, wait, written

from kernelckpt import (
    AgentRole,
    ContextSnapshot,
    KernelSnapshot,
    LoopResult,
    Message,
    ProcessState,
    ProcInfo,
    SchedulerBudget,
    SubAgentResult,
    TaskState,
    TaskTable,
    Tcb,
    TerminationReason,
    WaitReason,
    load,
    restore_tcb,
    verify,
)
from kernelckpt.checkpoint.restore_from import RestoreFrom
from kernelckpt.errors import DecodeError, RestoreError, UsageError
from kernelckpt.kernel.schedule import Idle, schedule_multi
from kernelckpt.model.process_view import AgentProcess

FAMILY = {"lead": lead, "wait": wait}
WHOLE = {
    "final_message": Message.assistant("bye"),
    "turns_used": 3,
    "total_tokens_used": 42,
    "loop_continue": False,
    "classify_branch": "left",
    "tournament_winner": "w",
    "error": "oops",
    "output": {"n": [1, b"\0"]},
}


def ended_child(result):
    """A child that ended so."""
    proc = ProcInfo("root", AgentRole.VERIFY, result=SubAgentResult("child", result))
    return Tcb("child", "root", state=TaskState.done(result.termination), proc=proc)


def form_of(*rows):
    return KernelSnapshot.from_state(0, 0, rows, ContextSnapshot()).to_dict()


async def family(memory):
    """A root that joins two children which wait."""
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.submit("lead", task_id="root")
        await kernel.idle()
    return memory


@pytest.mark.parametrize("reason", TerminationReason)
async def test_b1_every_reason_of_a_childs_end_comes_back(reason):
    child = ended_child(LoopResult(reason))
    memory = await written(row_record(replace(row("root"), program="wait")), row_record(child))
    async with kernel_of(memory.storage, {"wait": wait}) as kernel:
        assert (await kernel.join("child")).termination is reason
        assert kernel.tasks.get("child") == child
    form = form_of(child)
    form["tasks"][0]["proc"]["result"]["termination"] = reason.value.title().replace("_", "")
    assert restore_tcb(KernelSnapshot.from_dict(form).tasks[0]) == child
    form["tasks"][0]["proc"]["result"]["termination"] = "Bored"
    with pytest.raises(DecodeError, match="Bored"):
        KernelSnapshot.from_dict(form)


async def test_b2_a_childs_whole_result_comes_back():
    result = LoopResult(TerminationReason.ERROR, **WHOLE)
    child = ended_child(result)
    memory = await written(row_record(replace(row("root"), program="wait")), row_record(child))
    async with kernel_of(memory.storage, {"wait": wait}) as kernel:
        assert await kernel.join("child") == result
    again = KernelSnapshot.from_json(KernelSnapshot.from_state(0, 0, [child], ContextSnapshot()).to_json())
    assert restore_tcb(again.tasks[0]).proc.result == SubAgentResult("child", result)


async def test_b3_the_row_of_a_child_says_why_it_ended_and_the_view_only_that_it_failed():
    async def spin(turn):
        turn.say("again")

    async def parent(turn):
        return turn.join(turn.spawn("spin", task_id="child", budget=SchedulerBudget(max_turns=2)))

    memory, programs = Memory(), {"parent": parent, "spin": spin}
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("parent", task_id="root", budget=SchedulerBudget(max_turns=1))
        await kernel.join("root")
    async with kernel_of(memory.storage, programs) as kernel:
        child = kernel.tasks.get("child")
    assert child.state == TaskState.done(TerminationReason.MAX_TURNS)
    assert child.proc.result.result.termination is TerminationReason.MAX_TURNS
    assert AgentProcess.from_tcb(child).state is ProcessState.FAILED


@pytest.mark.parametrize("wait_form", [{"kind": "boredom"}, None])
async def test_b4_a_wait_that_is_unknown_or_missing_refuses_the_start(wait_form):
    record = {"id": "root", "state": {"kind": "suspended"}, "program": "wait"}
    if wait_form is not None:
        record["wait"] = wait_form
    memory = await written((("task", "root", 0), record))
    with pytest.raises((DecodeError, RestoreError), match="boredom" if wait_form else "waits for"):
        async with kernel_of(memory.storage, {"wait": wait}):
            pytest.fail("started")


def test_b5_a_wait_is_one_value_and_its_two_fields_may_not_contradict():
    with pytest.raises(ValueError, match="children"):
        replace(WaitReason.approval(), children=("a",))
    form = form_of(row("root", TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["a"])))
    form["tasks"][0]["wait_reason"] = "approval"
    with pytest.raises(DecodeError, match="wait_children"):
        KernelSnapshot.from_dict(form)


async def test_b6_a_roots_own_use_is_in_its_row_and_adds_up_to_the_totals():
    async def work(turn):
        turn.spend(tokens=10)
        turn.say("x")
        return turn.wait_for_message() if turn.number == 3 else None

    memory, programs = Memory(), {"work": work}
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("work", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, programs) as kernel:
        ledger, snapshot = kernel.tasks.get("root").budget, kernel.snapshot()
    assert (ledger.turns, ledger.total_tokens) == (3, 30) == (snapshot.turn, snapshot.total_tokens)
    assert ledger.started_at_ms is not None
    assert (await verify(memory.storage, RUN)).ok


async def test_b7_a_join_names_only_the_children_that_have_not_ended():
    memory = await family(Memory())
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.resume("a")
        await kernel.join("a")
        (root, *_) = kernel.snapshot().tasks
        assert root.wait_children == ("b",)
    async with kernel_of(memory.storage, FAMILY) as kernel:
        assert kernel.tasks.get("root").wait.children == ("b",)
        assert kernel.restored.woken == ()


JOINS_NOBODY = replace(
    row("root", TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["ghost"])), program="wait"
)
CHILD = Tcb("child", "ghost", proc=ProcInfo("ghost", AgentRole.CUSTOM), program="wait")


@pytest.mark.parametrize("tcb", [JOINS_NOBODY, CHILD], ids=["join", "parent"])
async def test_b8_a_state_that_contradicts_itself_is_not_started(tcb):
    memory = await written(row_record(tcb))
    with pytest.raises(RestoreError, match="ghost") as caught:
        async with kernel_of(memory.storage, {"wait": wait}):
            pytest.fail("started")
    assert caught.value.missing
    assert not (await verify(memory.storage, RUN)).ok


@pytest.mark.parametrize(
    "tcb",
    [replace(row("root"), result=LoopResult(TerminationReason.COMPLETED)), row("root", DONE)],
    ids=["a result without an end", "an end without a result"],
)
async def test_b8_contradictions_that_hurt_nobody_are_told_by_verify(tcb):
    memory = await written(row_record(tcb))
    report = await verify(memory.storage, RUN)
    assert [finding.where for finding in report.findings] == ['task["root"]']


async def test_b9_a_finished_row_over_its_budget_stops_nobody_before_or_after_a_restore():
    async def spin(turn):
        turn.say("again")

    over = row("over", DONE, max_turns=1, turns=1)
    assert schedule_multi(TaskTable([over])) == Idle()
    memory, programs = Memory(), {"spin": spin, "once": once}
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("spin", task_id="over", budget=SchedulerBudget(max_turns=1))
        assert (await kernel.join("over")).termination is TerminationReason.MAX_TURNS
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("once", task_id="other")
        assert (await kernel.join("other")).ok


async def test_b9_a_row_that_is_written_twice_is_one_row():
    memory = await written(row_record(row("root")), row_record(row("root", TaskState.BLOCKED, turns=1)))
    assert [(found.id, found.turns) for found in (await load(memory.storage, RUN)).tasks] == [("root", 1)]


async def test_b9_a_snapshot_with_two_rows_of_one_id_is_not_started():
    snapshot = KernelSnapshot.from_state(0, 0, [row("root"), row("root", DONE)], ContextSnapshot())
    with pytest.raises(DecodeError) as caught:
        async with kernel_of(None, {"wait": wait}, hook=RestoreFrom(snapshot)):
            pytest.fail("started")
    assert caught.value.path == "tasks[1].id"


async def test_b10_nested_children_have_their_true_parents_and_no_id_is_special():
    async def outer(turn):
        return turn.join(turn.spawn("inner", task_id="root"))

    async def inner(turn):
        return turn.join(turn.spawn("wait", task_id="leaf"))

    memory, programs = Memory(), {"outer": outer, "inner": inner, "wait": wait, "listen": listen}
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("outer", task_id="top")
        await kernel.idle()
    async with kernel_of(memory.storage, programs) as kernel:
        assert [(found.id, found.parent) for found in kernel.tasks] == [
            ("top", None),
            ("root", "top"),
            ("leaf", "root"),
        ]
        with pytest.raises(UsageError, match="leaf"):
            await kernel.submit("listen", task_id="leaf")
        assert kernel.tasks.get("leaf").parent == "root"


async def test_b11_a_child_knows_who_spawned_it_and_when_it_last_changed():
    memory = await family(Memory())
    async with kernel_of(memory.storage, FAMILY) as kernel:
        before = kernel.turn
        child = kernel.tasks.get("a")
        assert (child.proc.parent_session_id, child.changed_turn) == ("root", 1)
        await kernel.resume("a")
        await kernel.join("a")
        assert kernel.tasks.get("a").changed_turn == kernel.turn == before + 1
