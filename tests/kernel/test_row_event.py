"""The event log of a live kernel: it says what the rows did."""

from kernelckpt import (
    RuntimeSignal,
    Scheduler,
    SchedulerBudget,
    SignalSource,
    SignalType,
    TaskState,
    Tcb,
    Urgency,
    WaitReason,
)
from kernelckpt.kernel.events.cross_check import differences
from kernelckpt.kernel.events.event_log import has_required_categories, rebuild_os_snapshot_from_events
from kernelckpt.kernel.events.row_event import row_events


async def child(turn):
    if turn.number == 1:
        return turn.wait_for_message()
    return turn.complete("done") if turn.inbox else turn.fail("no message")


async def parent(turn):
    if turn.number == 1:
        return turn.join(turn.spawn("child", task_id="c1"), turn.spawn("child", task_id="c2"))
    return turn.complete("joined")


async def spin(turn):
    turn.say("again")


async def test_the_log_says_what_the_rows_did():
    programs = {"child": child, "parent": parent, "spin": spin}
    async with Scheduler(programs, run_id="r") as kernel:
        await kernel.submit("parent", task_id="p")
        await kernel.idle()
        running = kernel.event_log.view()
        assert [(p.agent_id, p.state) for p in running.process_by_agent] == [
            ("c1", "running"),
            ("c2", "running"),
        ]
        assert running.suspended
        await kernel.send("c1", "go")
        await kernel.cancel("c2")
        await kernel.join("p")
        view = kernel.event_log.view()
        assert [(p.agent_id, p.parent_session_id, p.state) for p in view.process_by_agent] == [
            ("c1", "p", "joined"),
            ("c2", "p", "failed"),
        ]
        assert [record.turn for record in view.process_by_agent] == [
            row.changed_turn for row in kernel.tasks.children_of("p")
        ]
        assert not view.suspended
        assert rebuild_os_snapshot_from_events(kernel.event_log.events) == view


async def test_limits_and_signals_are_in_the_log():
    async with Scheduler({"spin": spin}, run_id="r") as kernel:
        await kernel.submit("spin", task_id="s", budget=SchedulerBudget(max_turns=2))
        await kernel.join("s")
        await kernel.signal(RuntimeSignal(SignalSource.CRON, SignalType.JOB, Urgency.NORMAL, "tick", id="x"))
        view = kernel.event_log.view()
        assert [(record.turn, record.budget) for record in view.budget_exceeded] == [(2, "max_turns")]
        assert [(s.signal_id, s.disposition, s.queue_depth) for s in view.signals] == [("x", "queue", 1)]


async def test_forgotten_children_leave_the_log():
    programs = {"child": child, "parent": parent}
    async with Scheduler(programs, run_id="r") as kernel:
        await kernel.submit("parent", task_id="p")
        await kernel.idle()
        await kernel.cancel("p")
        await kernel.forget("p")
        assert kernel.event_log.view().process_by_agent == ()
        events = kernel.event_log.events
        assert [event.agent_id for event in events[-2:]] == ["c1", "c2"]
        assert has_required_categories(events)
        assert rebuild_os_snapshot_from_events(events) == kernel.event_log.view()


async def test_a_child_that_is_reopened_runs_from_that_turn_on():
    async def parent(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("spin", task_id="c", budget=SchedulerBudget(max_turns=2)))
        return turn.wait_for_message()

    async with Scheduler({"parent": parent, "spin": spin}, run_id="r") as kernel:
        await kernel.submit("parent", task_id="p")
        await kernel.idle()
        ended = kernel.tasks.get("c").changed_turn
        await kernel.extend("c", SchedulerBudget(max_turns=3))
        reopened = kernel.event_log.view().process_by_agent[0]
        assert (reopened.state, reopened.turn) == ("running", kernel.tasks.get("c").changed_turn)
        assert reopened.turn > ended
        assert differences(kernel.tasks, kernel.event_log.view(), kernel.turn) == []


def test_ids_of_what_is_asked_and_answered():
    ready, asking = Tcb("a"), Tcb("a", state=TaskState.SUSPENDED, wait=WaitReason.approval())
    (suspended,) = row_events(3, ready, asking, pending=["c1", "c2"])
    (resumed,) = row_events(4, asking, ready, approved=["c1"], denied=["c2"])
    assert (suspended.turn, suspended.reason, suspended.pending_calls) == (3, "ask_user", ("c1", "c2"))
    assert (resumed.turn, resumed.approved, resumed.denied) == (4, ("c1",), ("c2",))


def test_a_suspension_for_a_join_names_the_children():
    joining = Tcb("a", state=TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["b"]))
    (suspended,) = row_events(1, Tcb("a"), joining)
    assert (suspended.reason, suspended.pending_calls) == ("sub_agent_await", ("b",))
