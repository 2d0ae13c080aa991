"""Coming back from records: what a crash left half-way is mended, what is missing refuses the start."""

from types import SimpleNamespace

import anyio
import msgspec
import pytest
from kernel_kit import Gate, Recorder, count, kernel_of, kinds, listen, once, settle, texts
from msgspec.structs import replace

from kernelckpt import (
    AgentRole,
    Disposition,
    LoopResult,
    Message,
    ProcInfo,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    SubAgentResult,
    TerminationReason,
    ToolCall,
    Urgency,
    tool,
)
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import DecodeError, RestoreError, SchedulerStopped, UsageError
from kernelckpt.model.context import Context
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitReason
from kernelckpt.testing import ManualClock


def saved_of(*rows, records=None, streams=None):
    """A state made by hand."""
    made = {("task", row.id, 0): encode_record(row) for row in rows}
    made["kernel", "", 0] = encode_record(KernelTotals())
    for key, record in (records or {}).items():
        made[key] = record if isinstance(record, bytes) else encode_record(record)
    return SimpleNamespace(records=made, streams=streams or {})


def signal_of(summary, urgency=Urgency.NORMAL, **fields):
    return RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, urgency, summary, **fields)


async def wait(turn):
    return turn.wait_external("door")


async def refused(saved, programs, **settings):
    """What is missing, of a state that cannot be gone on from here."""
    with pytest.raises(RestoreError) as caught:
        async with kernel_of(programs, hooks=[Recorder(saved)], **settings):
            pytest.fail("started")
    assert caught.value.hint
    return list(caught.value.missing)


async def test_a_new_run_has_nothing_restored():
    async with kernel_of() as kernel:
        assert kernel.restored is None


async def test_a_finished_task_is_there_with_everything():
    recorder = Recorder()
    async with kernel_of({"count": count}, hooks=[recorder]) as kernel:
        await kernel.submit("count", task_id="c", goal="g", caps=["read"])
        before = await kernel.join("c")
        snapshot = kernel.snapshot()
    async with kernel_of({"count": count}, hooks=[Recorder(recorder.saved())]) as kernel:
        assert await kernel.join("c") == before
        assert texts(kernel, "c") == [f"turn {number}" for number in range(1, 6)]
        assert kernel.snapshot().tasks == snapshot.tasks
        assert kernel.turn == 5
        await kernel.submit("count", task_id="c")  # known already
        report = kernel.restored
        assert (report.run_id, report.turn, report.tasks, report.live) == ("run", 5, 1, 0)
        assert report.restored == {"kernel": 1, "task": 1, "state": 1, "context": 1, "history": 5}
        assert (report.interrupted, report.woken, report.in_doubt) == ((), (), ())


async def test_a_task_that_was_in_a_turn_runs_it_again():
    recorder, begun, seen = Recorder(), anyio.Event(), []

    async def program(turn):
        seen.append((turn.number, turn.attempt))
        turn.say(f"turn {turn.number}")
        if turn.number == 2 and turn.attempt == 1:
            turn.spend(tokens=10)
            begun.set()
            await anyio.sleep_forever()
        return turn.complete() if turn.number == 2 else None

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        saved = recorder.saved()
        kernel.request_stop(0)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        assert kernel.restored.interrupted == ("t",)
        await kernel.idle()
        assert kernel.tasks.get("t").state.is_terminal()
        result = await kernel.join("t")
        assert (result.turns_used, result.total_tokens_used) == (2, 10)
        assert texts(kernel, "t") == ["turn 1", "turn 2"]
    assert seen == [(1, 1), (2, 1), (2, 2)]


async def test_waits_survive_and_end_as_before():
    async def ask(turn):
        if not turn.approvals:
            return turn.ask_approval("k", "Really?", {"a": 1})
        return turn.complete(str(turn.approvals["k"].approved))

    async def watch(turn):
        for signal in turn.signals:
            return turn.complete(signal.summary)
        return turn.wait_for_signal()

    programs = {"ask": ask, "watch": watch, "listen": listen, "wait": wait}
    recorder = Recorder()
    async with kernel_of(programs, hooks=[recorder]) as kernel:
        for name in programs:
            await kernel.submit(name, task_id=name)
        await kernel.idle()
        before = kinds(kernel)
    async with kernel_of(programs, hooks=[Recorder(recorder.saved())]) as kernel:
        await kernel.idle()
        assert kinds(kernel) == before
        assert [(item.key, item.payload) for item in kernel.approvals()] == [("k", {"a": 1})]
        await kernel.approve("ask", "k")
        await kernel.signal(signal_of("hello"))
        await kernel.send("listen", "stop")
        await kernel.resume("wait")
        results = [await kernel.join(name) for name in ("ask", "watch", "listen")]
        assert [result.text for result in results] == ["True", "hello", "stopped"]
        await kernel.idle()
        assert kernel.tasks.get("wait").budget.turns == 2


async def sum_up(turn):
    return turn.complete(output=sorted(turn.results))


def child_of(parent, task_id, *, ended):
    result = SubAgentResult(task_id, LoopResult(TerminationReason.COMPLETED)) if ended else None
    row = Tcb.spawned_child(
        task_id, parent, ProcInfo(parent, AgentRole.CUSTOM, result=result), SchedulerBudget()
    )
    if ended:
        return replace(row, state=TaskState.done(TerminationReason.COMPLETED), program="wait")
    return replace(row, state=TaskState.SUSPENDED, wait=WaitReason.external("door"), program="wait")


@pytest.mark.parametrize("ended", ["", "a", "ab"])
async def test_a_join_is_shortened_by_what_has_ended_and_woken_when_nothing_is_left(ended):
    parent = Tcb(
        "p",
        state=TaskState.SUSPENDED,
        wait=WaitReason.sub_agent_join(["a", "b"]),
        joined=("a", "b"),
        program="sum",
    )
    saved = saved_of(parent, *(child_of("p", name, ended=name in ended) for name in "ab"))
    async with kernel_of({"sum": sum_up, "wait": wait}, hooks=[Recorder(saved)]) as kernel:
        assert kernel.restored.woken == (("p",) if ended == "ab" else ())
        wait_now = kernel.tasks.get("p").wait
        assert wait_now is None or wait_now.children == tuple(name for name in "ab" if name not in ended)
        for name in "ab":
            await kernel.cancel(name)
        assert (await kernel.join("p")).output == ["a", "b"]


async def test_a_join_of_many_is_right_after_a_restore_in_the_middle():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(*[turn.spawn("wait", task_id=f"w{number}") for number in range(300)])
        return turn.complete(output=len(turn.results))

    recorder = Recorder()
    async with kernel_of({"boss": boss, "wait": wait}, hooks=[recorder]) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        for number in range(100):
            await kernel.cancel(f"w{number}")
        saved = recorder.saved()
    async with kernel_of({"boss": boss, "wait": wait}, hooks=[Recorder(saved)]) as kernel:
        assert set(kernel.tasks.get("b").wait.children) == {f"w{number}" for number in range(100, 300)}
        for number in range(100, 300):
            await kernel.cancel(f"w{number}")
        assert (await kernel.join("b")).output == 300


async def test_forgetting_an_ended_child_of_a_large_join_leaves_a_state_that_can_be_restored():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(*[turn.spawn("wait", task_id=f"w{number}") for number in range(300)])
        return turn.complete(output=len(turn.results))

    recorder = Recorder()
    async with kernel_of({"boss": boss, "wait": wait}, hooks=[recorder]) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        for number in range(3):
            await kernel.cancel(f"w{number}")
        await kernel.forget("w1")
        assert set(kernel.tasks.get("b").wait.children) == {f"w{number}" for number in range(3, 300)}
    async with kernel_of({"boss": boss, "wait": wait}, hooks=[Recorder(recorder.saved())]) as kernel:
        for number in range(3, 300):
            await kernel.cancel(f"w{number}")
        assert (await kernel.join("b")).output == 299


async def test_timers_are_armed_again_and_overdue_ones_are_due_at_once():
    clock, recorder = ManualClock(), Recorder()

    async def nap(turn):
        if turn.number == 1:
            return turn.sleep(turn.input)
        return turn.complete(output=turn.deps.wall_ms())

    async def ask(turn):
        if not turn.approvals:
            return turn.ask_approval("k", "?", timeout=100)
        return turn.complete(turn.approvals["k"].reason)

    programs = {"nap": nap, "ask": ask}
    begin = clock.wall_ms()
    async with kernel_of(programs, hooks=[recorder], clock=clock, deps=clock) as kernel:
        for seconds in (10, 100, 1000):
            await kernel.submit("nap", task_id=f"n{seconds}", input=seconds)
        await kernel.submit("ask", task_id="a")
        await clock.advance(1)
    later = ManualClock(begin + 200_000)
    saved = recorder.saved()
    async with kernel_of(programs, hooks=[Recorder(saved)], clock=later, deps=later) as kernel:
        await settle()
        assert (await kernel.join("n10")).output == (await kernel.join("n100")).output == begin + 200_000
        assert (await kernel.join("a")).text == "nobody answered in time"
        assert not kernel.tasks.get("n1000").state.is_terminal()
        await later.advance(800)
        assert (await kernel.join("n1000")).output == begin + 1_000_000


async def test_working_time_goes_on_and_downtime_is_not_charged():
    clock, recorder = ManualClock(), Recorder()

    async def work(turn):
        turn.say("x")
        await turn.deps.sleep(4)

    budget = SchedulerBudget(max_wall_ms=10_000)
    async with kernel_of({"work": work}, hooks=[recorder], clock=clock, deps=clock) as kernel:
        await kernel.submit("work", task_id="w", budget=budget)
        await clock.advance(5)
        saved = recorder.saved()
        kernel.request_stop(0)
        await clock.advance(0)
    later = ManualClock(clock.wall_ms() + 10**9)
    hook = Recorder(saved, downtime_ms=10**9)
    async with kernel_of({"work": work}, hooks=[hook], clock=later, deps=later) as kernel:
        assert kernel.restored.downtime_ms == 10**9
        await later.advance(4)
        assert kernel.tasks.get("w").budget.turns == 2
        await later.advance(4)
        result = await kernel.join("w")
        assert (result.termination, result.turns_used) == ("timeout", 3)
    assert b"".join(hook.saved().records.values())


async def test_messages_sent_keys_and_signals_survive_and_dedup_is_cleared():
    recorder = Recorder()

    async def deaf(turn):
        if turn.number < 3:
            return turn.wait_external("door")
        said = [message.text for message in turn.inbox]
        return turn.complete(output=[said, [signal.summary for signal in turn.signals]])

    async with kernel_of({"deaf": deaf}, hooks=[recorder]) as kernel:
        await kernel.submit("deaf", task_id="d")
        await kernel.idle()
        await kernel.send("d", "hello", key="k")
        assert await kernel.signal(signal_of("seen", Urgency.LOW, dedupe_key="u")) is Disposition.OBSERVE
        for number, name in enumerate("ba"):
            await kernel.signal(signal_of(name, timestamp_ms=9 - number, dedupe_key=name))
    hook = Recorder(recorder.saved())
    async with kernel_of({"deaf": deaf}, hooks=[hook]) as kernel:
        assert kernel.restored.cleared == ("signal deduplication",)
        assert len(kernel.snapshot().queued_signals) == 2
        await kernel.send("d", "hello", key="k")  # known
        assert await kernel.signal(signal_of("again", dedupe_key="a")) is Disposition.QUEUE
        assert await kernel.signal(signal_of("again", dedupe_key="a")) is Disposition.IGNORE
        await kernel.resume("d")
        await kernel.idle()
        await kernel.resume("d")
        assert (await kernel.join("d")).output == [["hello"], ["seen", "again", "a", "b"]]


async def test_planned_tool_calls_are_made():
    recorder, gate, called = Recorder(), Gate(held=False), []

    @tool
    async def spy(x):
        called.append(x)
        return x

    async def program(turn):
        if turn.number == 1:
            gate.hold()
            return turn.request(Message.assistant("", [ToolCall("1", "spy", {"x": 5})]))
        return turn.complete(turn.messages[-1].text)

    async with kernel_of({"p": program}, tools=[spy], hooks=[recorder, gate]) as kernel:
        with anyio.move_on_after(0):
            await kernel.submit("p", task_id="t")
        await settle()
        planned = next(s for s in recorder.history if any(key[0] == "effect" for key in s.records))
        kernel.request_stop(0)
    assert called == []
    async with kernel_of({"p": program}, tools=[spy], hooks=[Recorder(planned)]) as kernel:
        assert kernel.restored.in_doubt == ()
        assert (await kernel.join("t")).text == "5"
    assert called == [5]


async def test_what_is_missing_refuses_the_start_and_is_named():
    rows = [Tcb(f"t{number}", program="gone") for number in range(5)]
    assert await refused(saved_of(*rows), {}) == ["program 'gone' (tasks t0, t1, t2 and 2 more)"]
    orphan = Tcb("o", parent="nobody", program="wait")
    assert await refused(saved_of(orphan), {"wait": wait}) == ["parent 'nobody' of task 'o'"]
    lost = Tcb("l", state=TaskState.SUSPENDED, program="wait")
    assert await refused(saved_of(lost), {"wait": wait}) == ["what suspended task 'l' waits for"]
    joins = Tcb("j", state=TaskState.SUSPENDED, wait=WaitReason.sub_agent_join(["x"]), program="wait")
    assert await refused(saved_of(joins), {"wait": wait}) == ["task 'x' that 'j' waits for"]


async def test_a_missing_tool_of_a_call_under_way_is_named():
    recorder = Recorder()

    @tool
    async def stuck():
        await anyio.sleep_forever()

    async def program(turn):
        return turn.request(Message.assistant("", [ToolCall("1", "stuck")]))

    async with kernel_of({"p": program}, tools=[stuck], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        kernel.request_stop(0)
    assert await refused(recorder.saved(), {"p": program}) == ["tool 'stuck' (task t)"]


async def left_by(program, made):
    """The state that is left when a turn is cut off once it has made an event."""
    recorder = Recorder()
    async with kernel_of({"p": program}, tools=[stuck], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await made.wait()
        saved = recorder.saved()
        kernel.request_stop(0)
    return saved


@tool
async def stuck(event=None):
    """Set the event of the call under way, and never return; with an argument return at once."""
    if event is None:
        BEGUN[-1].set()
        await anyio.sleep_forever()


BEGUN = [anyio.Event()]


@pytest.mark.parametrize("is_done", [True, False])
async def test_a_missing_tool_that_a_program_has_called_is_named_before_anybody_answers(is_done):
    BEGUN.append(anyio.Event())

    async def program(turn):
        if is_done:
            await turn.call("stuck", event=1)
            BEGUN[-1].set()
            await anyio.sleep_forever()
        await turn.call("stuck")

    saved = await left_by(program, BEGUN[-1])
    assert await refused(saved, {"p": program}) == ["tool 'stuck' (task t)"]


async def test_a_tool_that_a_program_has_called_as_a_function_need_not_be_registered():
    BEGUN.append(anyio.Event())

    async def program(turn):
        await turn.effect(stuck)

    saved = await left_by(program, BEGUN[-1])
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        assert len(kernel.approvals()) == 1


async def test_a_missing_program_of_a_finished_task_is_no_reason_to_refuse():
    recorder = Recorder()
    async with kernel_of({"once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("once", task_id="o")
        await kernel.join("o")
    async with kernel_of({}, hooks=[Recorder(recorder.saved())]) as kernel:
        assert (await kernel.join("o")).ok


@pytest.mark.parametrize(
    ("records", "streams", "error", "text"),
    [
        ({("task", "a", 0): b"\xc1"}, {}, DecodeError, 'task\\["a"\\]'),
        ({("task", "a", 0): Tcb("b", program="wait")}, {}, DecodeError, "holds another task"),
        ({("task", "a", 0): msgspec.msgpack.encode({"id": "a", "new": 1})}, {}, DecodeError, "new"),
        ({("attic", "a", 0): b"\x80"}, {}, DecodeError, "unknown kind of record 'attic'"),
        ({("context", "ghost", 0): Context()}, {}, RestoreError, "belongs to a task that has no row"),
        ({("inbox", "a", 1): b"\x80"}, {}, DecodeError, "inbox"),
        ({("kernel", "", 0): b"\x90"}, {}, DecodeError, "kernel"),
        ({}, {("history", "ghost", 0): [b""]}, RestoreError, "has no row"),
        ({}, {("history", "a", 3): [b""]}, DecodeError, "not the generation in use"),
        ({}, {("attic", "a", 0): [b""]}, DecodeError, "unknown kind of stream"),
    ],
)
async def test_records_that_are_not_what_they_should_be_refuse_the_start(records, streams, error, text):
    saved = saved_of(Tcb("a", program="wait"), records=records, streams=streams)
    with pytest.raises(error, match=text):
        async with kernel_of({"wait": wait}, hooks=[Recorder(saved)]):
            pytest.fail("started")


async def test_finished_roots_of_before_count_among_those_that_are_kept():
    recorder = Recorder()
    async with kernel_of({"count": count}, hooks=[recorder], keep_done=1) as kernel:
        await kernel.submit("count", task_id="before")
        await kernel.idle()
    async with kernel_of({"count": count}, hooks=[Recorder(recorder.saved())], keep_done=1) as kernel:
        assert "before" in kernel.tasks
        await kernel.submit("count", task_id="after")
        await kernel.idle()
        assert [row.id for row in kernel.tasks] == ["after"]


async def test_rehearsing_says_what_is_missing_and_changes_nothing():
    told = []

    class Rehearsing(Recorder):
        async def on_start(self, kernel):
            told.append(list(kernel.rehearse(saved_of(Tcb("t", program="gone")))))
            told.append(list(kernel.rehearse(saved_of(Tcb("t", program="wait")))))

    async with kernel_of({"wait": wait}, hooks=[Rehearsing()]) as kernel:
        assert len(kernel.tasks) == 0
        assert kernel.restored is None
    assert told == [["program 'gone' (tasks t)"], []]


async def test_a_state_is_restored_once_and_only_on_start():
    saved = saved_of(Tcb("t", program="wait"))
    with pytest.raises(UsageError, match="has a state already"):
        async with kernel_of({"wait": wait}, hooks=[Recorder(saved), Recorder(saved)]):
            pytest.fail("started")
    async with kernel_of({"wait": wait}) as kernel:
        with pytest.raises(UsageError, match="has a state already"):
            kernel.restore(saved, downtime_ms=None, notes=())


async def test_the_report_carries_the_notes_of_the_log():
    hook = Recorder(saved_of(Tcb("t", program="wait")), downtime_ms=5, notes=["a torn tail was dropped"])
    async with kernel_of({"wait": wait}, hooks=[hook]) as kernel:
        assert kernel.restored.notes == ("a torn tail was dropped",)
        assert kernel.restored.downtime_ms == 5
        assert kernel.restored.live == 1


async def test_a_queue_over_its_capacity_is_kept_whole():
    queued = {("signal", "", number): QueuedSignal(signal_of(str(number))) for number in range(1, 101)}
    async with kernel_of(hooks=[Recorder(saved_of(records=queued))]) as kernel:
        assert len(kernel.snapshot().queued_signals) == 100
        assert await kernel.signal(signal_of("more")) is Disposition.DROPPED


async def test_what_scan_gives_is_what_the_commits_gave():
    recorder = Recorder()

    async def boss(turn):
        if turn.number == 1:
            turn.append(Message.system("rules"), partition="system")
            turn.plan(["a"])
            turn.set_state([1])
            return turn.join(turn.spawn("count", input=5), turn.spawn("listen", task_id="l"))
        return turn.ask_approval("k", "?")

    async with kernel_of({"boss": boss, "count": count, "listen": listen}, hooks=[recorder]) as kernel:
        await kernel.submit("boss", task_id="b", goal="g")
        await kernel.submit("count", task_id="gone")
        await kernel.signal(signal_of("queued"))
        await kernel.idle()
        await kernel.forget("gone")
        await kernel.send("l", "stop", key="k")
        await kernel.idle()
        scanned = dict(kernel.scan())
        saved = recorder.saved()
        assert {key for key, record in scanned.items() if record is None} == set(saved.streams)
        records = {key: encode_record(record) for key, record in scanned.items() if record is not None}
        assert records == saved.records


async def test_a_scan_stays_valid_while_everything_changes():
    async with kernel_of({"count": count, "wait": wait}) as kernel:
        for number in range(200):
            await kernel.submit("wait", task_id=f"w{number}", input=number)
        await kernel.idle()
        seen = set()
        for step, (key, _) in enumerate(kernel.scan()):
            seen.add(key)
            if step % 5 == 0 and step < 500:
                await kernel.cancel(f"w{step // 5}")
                await kernel.forget(f"w{step // 5}")
                await kernel.submit("count", task_id=f"c{step}")
        assert {("task", f"w{number}", 0) for number in range(100, 200)} <= seen


async def scenario(deps, hook, *, first):
    """A run with children, tools, sleeps, messages, questions; what comes of it."""

    @tool(effect="idempotent")
    async def pay(amount):
        deps.append(amount)
        return amount

    async def worker(turn):
        paid = await turn.effect(pay, turn.input)
        turn.set_state([*(turn.state or []), paid])
        if turn.number == 1:
            return turn.sleep(0)
        return turn.complete(output=turn.state)

    async def boss(turn):
        turn.say(f"turn {turn.number}")
        if turn.number == 1:
            turn.spend(tokens=5)
            return turn.join(turn.spawn("worker", input=1), turn.spawn("worker", input=2))
        if turn.number == 2:
            turn.set_state(sorted(result.output for result in turn.results.values()))
            calls = [ToolCall("x", "pay", {"amount": 3}), ToolCall("y", "pay", {"amount": 4})]
            return turn.request(Message.assistant("calls", calls))
        if turn.number == 3:
            return turn.ask_approval("go", "Go on?")
        if turn.number == 4:
            return turn.wait_for_message()
        heard = [message.text for message in turn.inbox]
        return turn.complete("done", output=[turn.state, heard, turn.approvals["go"].approved])

    programs = {"worker": worker, "boss": boss}
    try:
        async with kernel_of(programs, hooks=[hook], tools=[pay], max_concurrency=2) as kernel:
            await kernel.submit("boss", task_id="b")
            await kernel.send("b", "hello", key="hello")
            await kernel.idle()
            if kernel.approvals():
                await kernel.approve("b", "go")
            result = await kernel.join("b")
            return result, texts(kernel, "b"), sorted(row.id for row in kernel.tasks)
    except SchedulerStopped:
        assert not first
        raise


async def test_a_crash_after_any_commit_changes_nothing_in_the_outcome():
    recorder = Recorder()
    whole, expected_texts, expected_rows = await scenario([], recorder, first=True)
    assert whole.output == [[[1, 1], [2, 2]], ["hello"], True]
    assert len(recorder.history) > 25
    for number, saved in enumerate(recorder.history[1:-1]):
        paid = []
        with anyio.fail_after(10):
            result, said, rows = await scenario(paid, Recorder(saved), first=False)
        outcome = (result.output, result.text, result.turns_used, said, rows)
        expected = (whole.output, whole.text, whole.turns_used, expected_texts, expected_rows)
        assert outcome == expected, f"after commit {number}"
        assert result.total_tokens_used in {5, 10}  # a turn that is run again spends again
        assert set(paid) <= {1, 2, 3, 4}


async def saved_in_doubt():
    """A state in which nobody knows whether a call was made."""
    recorder, begun = Recorder(), anyio.Event()

    async def pay():
        begun.set()
        await anyio.sleep_forever()

    async def payer(turn):
        await turn.effect(pay)

    async with kernel_of({"payer": payer}, hooks=[recorder]) as kernel:
        await kernel.submit("payer", task_id="t")
        await begun.wait()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    return {"payer": payer}, saved


async def test_the_questions_of_a_restore_are_durable_before_the_body_begins():
    programs, saved = await saved_in_doubt()
    gate, entered = Gate(), []

    async def second():
        async with kernel_of(programs, hooks=[Recorder(saved), gate]) as kernel:
            entered.extend(item.key for item in kernel.approvals())

    async with anyio.create_task_group() as group:
        group.start_soon(second)
        await settle()
        assert gate.asked
        assert entered == []
        gate.open()
    assert entered == ["effect:1.0.1"]


async def test_a_start_that_is_cancelled_before_it_is_durable_stops_its_hooks():
    programs, saved = await saved_in_doubt()
    hook = Recorder(saved)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(kernel_of(programs, hooks=[hook, Gate()]).__aenter__)
            await settle()
            scope.cancel()
    assert hook.order == ["start", "stop"]
