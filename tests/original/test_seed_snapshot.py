"""The original's tests of its snapshot module, restated."""

from original_kit import DONE, Memory, kernel_of, wait

from kernelckpt import (
    AgentRole,
    BudgetLedger,
    Context,
    ContextSnapshot,
    KernelSnapshot,
    Message,
    Plan,
    ProcInfo,
    Role,
    SchedulerBudget,
    TaskState,
    TaskTable,
    Tcb,
    TcbSnapshot,
    WaitKind,
    WaitReason,
    restore_tcb,
)
from kernelckpt.model.os_snapshot import ProcessRecord


def test_tcb_snapshot_roundtrip():
    limits = SchedulerBudget(128_000, 10, 1000, 60_000)
    row = Tcb("test-task", budget=BudgetLedger(limits, turns=5, total_tokens=500), deferred_until=1000)
    flat = TcbSnapshot.from_tcb(row)
    assert (flat.id, flat.turns, flat.total_tokens, flat.deferred_until) == ("test-task", 5, 500, 1000)
    assert restore_tcb(flat) == row


def test_kernel_snapshot_serializes():
    snapshot = KernelSnapshot.from_state(1, 100, TaskTable(), ContextSnapshot(), None)
    again = KernelSnapshot.from_json(snapshot.to_json())
    assert (again.turn, again.total_tokens) == (1, 100)


def test_context_snapshot_captures_fields():
    context = ContextSnapshot(system_messages=(Message.system("rules"),), task_goal="Build something")
    assert len(context.system_messages) == 1
    assert context.task_goal == "Build something"


def test_snapshot_from_state_captures_tasks():
    budget = SchedulerBudget()
    table = TaskTable().insert(Tcb.root("root", budget)).insert(Tcb.root("child", budget))
    snapshot = KernelSnapshot.from_state(5, 1000, table, ContextSnapshot(), None)
    assert (snapshot.turn, snapshot.total_tokens) == (5, 1000)
    assert [row.id for row in snapshot.tasks] == ["root", "child"]


def test_context_snapshot_from_manager():
    context = Context(plan=Plan(goal="Test goal"), max_tokens=1000)
    flat = ContextSnapshot.from_context(context, system=[Message(Role.SYSTEM, "rules", token_count=10)])
    assert len(flat.system_messages) == 1
    assert (flat.task_goal, flat.max_tokens, flat.task_plan) == ("Test goal", 1000, None)


def test_tcb_restore_roundtrip():
    row = Tcb.root("root", SchedulerBudget())
    again = restore_tcb(TcbSnapshot.from_tcb(row))
    assert (again.id, again.state, again.budget.turns) == ("root", TaskState.READY, 0)


def test_tcb_restore_with_wait_reason():
    row = Tcb("root", wait=WaitReason.sub_agent_join(["child-1", "child-2"]))
    restored = restore_tcb(TcbSnapshot.from_tcb(row)).wait
    assert restored is not None
    assert restored.kind is WaitKind.SUB_AGENT_JOIN
    assert restored.children == ("child-1", "child-2")


def test_kernel_snapshot_to_os_process_records():
    root = Tcb("root", state=TaskState.RUNNING)
    proc = ProcInfo("root", AgentRole.IMPLEMENT)
    child = Tcb("child-1", "root", state=DONE, budget=BudgetLedger(turns=3), proc=proc)
    snapshot = KernelSnapshot.from_state(0, 0, [root, child], ContextSnapshot())
    assert snapshot.to_os_process_records() == [ProcessRecord(3, "child-1", "root", "done")]


async def test_kernel_snapshot_to_os_records_matches_state_machine():
    async def parent(turn):
        return turn.join(turn.spawn("wait", task_id="child"))

    async with kernel_of(Memory().storage, {"parent": parent, "wait": wait}) as kernel:
        await kernel.submit("parent", task_id="parent-sess")
        await kernel.idle()
        (record,) = kernel.snapshot().to_os_process_records()
    assert (record.agent_id, record.parent_session_id) == ("child", "parent-sess")
    assert record.state in {"running", "suspended"}
