"""The event log of a live kernel: it says what the rows did."""

from kernelckpt import RuntimeSignal, Scheduler, SchedulerBudget, SignalSource, SignalType, Urgency
from kernelckpt.kernel.event_log import rebuild_os_snapshot_from_events


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
