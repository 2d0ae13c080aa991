"""The original's tests of rollback, interrupts, budgets and resumption, from every crash too."""

import anyio
import pytest
from original_kit import RUN, Memory, Recording, kernel_of, signal_of

from kernelckpt import (
    CheckpointHook,
    ContextConfig,
    Hook,
    Message,
    Scheduler,
    SchedulerBudget,
    TimedOut,
    ToolCall,
    ToolError,
    Urgency,
    tool,
)
from kernelckpt.abc import Append
from kernelckpt.codec.record import decode_message
from kernelckpt.model.os_event import BudgetExceeded, Rollbacked


def asking(*names):
    """A program that requests one call of each tool, then completes with its history and its notes."""

    async def program(turn):
        if not turn.notes and not any(message.tool_calls for message in turn.messages):
            calls = [ToolCall(f"c{number}", name) for number, name in enumerate(names)]
            return turn.request(Message.assistant("thinking", calls))
        shown = [message.text for message in turn.messages]
        return turn.complete(output={"history": shown, "notes": list(turn.notes)})

    return {"agent": program}


@tool(effect="idempotent")
async def look():
    return "seen"


@tool(effect="idempotent")
async def pay():
    raise ToolError("no money", kind="fatal")


async def ends_of(programs, drive, **settings):
    """What a run comes to, live and then from what is durable after each of its appends."""
    storage = Recording()
    async with kernel_of(storage, programs, **settings) as kernel:
        ends = [await drive(kernel)]
    for copy in storage.copies:
        async with kernel_of(copy.storage, programs, **settings) as kernel:
            ends.append(await drive(kernel))
    return ends


async def test_timeout_rolls_back():
    begun, memory = anyio.Event(), Memory()

    async def work(turn):
        if not turn.notes:
            turn.say("lost")
            begun.set()
            await anyio.sleep_forever()
        return turn.complete(output=list(turn.notes))

    async with kernel_of(memory.storage, {"work": work}) as kernel:
        await kernel.submit("work", task_id="root", messages=[Message.user("go")])
        await begun.wait()
        await kernel.rollback("root", TimedOut())
        crashed = memory.crashed()
        live = await kernel.join("root")
        assert [event.reason for event in kernel.event_log.events if isinstance(event, Rollbacked)] == [
            "timeout"
        ]
    async with kernel_of(crashed.storage, {"work": work}) as kernel:
        assert await kernel.join("root") == live
        assert [message.text for message in kernel.context("root").history] == ["go"]
    assert live.output == ["[ROLLBACK] it took too long"]


@pytest.mark.parametrize("verbose", [False, True])
async def test_rollback_note(verbose):
    async def drive(kernel):
        await kernel.submit("agent", task_id="root", messages=[Message.user("go")])
        return (await kernel.join("root")).output

    config = ContextConfig(verbose_control_notes=verbose)
    ends = await ends_of(asking("pay"), drive, tools=[pay], context=config)
    head = "[SYSTEM] Transaction rollback: " if verbose else "[ROLLBACK] "
    assert ends[0]["history"] == ["go"]
    (note,) = ends[0]["notes"]
    assert note.startswith(f"{head}pay failed for good: ")
    assert ("[SYSTEM]" in note) is verbose
    assert ends == ends[:1] * len(ends)


async def test_critical_signal_goes_to_signals_not_history():
    async def wait(turn):
        if turn.number == 1:
            return turn.wait_external("door")
        return turn.complete(output=[list(turn.notes), len(turn.messages)])

    memory = Memory()
    async with kernel_of(memory.storage, {"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="root", messages=[Message.user("go")])
        await kernel.idle()
        before = memory.crashed()
        await kernel.signal(signal_of("fire", Urgency.CRITICAL))
        after = memory.crashed()
        ends = [await kernel.join("root")]
    async with kernel_of(before.storage, {"wait": wait}) as kernel:
        await kernel.signal(signal_of("fire", Urgency.CRITICAL))
        ends.append(await kernel.join("root"))
    async with kernel_of(after.storage, {"wait": wait}) as kernel:
        ends.append(await kernel.join("root"))
        assert kernel.context("root").plan.directives == ("fire",)
    assert [end.output for end in ends] == [[["[INTERRUPT] fire"], 1]] * 3


async def test_start_leaves_a_task_with_its_messages_and_no_signals():
    async def wait(turn):
        return turn.wait_external("door")

    storage = Recording()
    async with kernel_of(storage, {"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="root", goal="g", messages=[Message.user("begin")])
        await kernel.idle()
    for copy in storage.copies[1:]:
        async with kernel_of(copy.storage, {"wait": wait}) as kernel:
            await kernel.submit("wait", task_id="root", goal="g", messages=[Message.user("begin")])
            await kernel.idle()
            context = kernel.snapshot().context
            assert [message.text for message in context.history_messages] == ["begin"]
            assert context.signals == ()


async def test_resume_after_preload_runs_pending_tools_before_llm():
    async def drive(kernel):
        await kernel.submit("agent", task_id="root", messages=[Message.user("go")])
        return (await kernel.join("root")).output

    ends = await ends_of(asking("look", "look"), drive, tools=[look])
    assert ends[0] == {"history": ["go", "thinking", "seen", "seen"], "notes": []}
    assert ends == ends[:1] * len(ends)


async def test_preload_history_and_drain_new_messages():
    class Drain(Hook):
        """Keeps the messages that this process adds to the history, as a session store does."""

        def __init__(self):
            self.new = []

        def on_commit(self, kernel, commit):
            for change in commit.changes:
                if isinstance(change, Append) and change.key[0] == "history":
                    self.new += [decode_message(item, "history").text for item in change.items]

    async def talk(turn):
        for message in turn.inbox:
            turn.append(message)
        turn.say(f"turn {turn.number}")
        return turn.wait_for_message()

    memory = Memory()
    async with kernel_of(memory.storage, {"talk": talk}) as kernel:
        await kernel.submit(
            "talk", task_id="root", messages=[Message.user("old"), Message.assistant("older")]
        )
        await kernel.idle()
    drain = Drain()
    hooks = [CheckpointHook(memory.storage, every=None, owner_wait=0), drain]
    async with Scheduler({"talk": talk}, run_id=RUN, hooks=hooks) as kernel:
        await kernel.send("root", "kickoff")
        await kernel.idle()
        whole = [message.text for message in kernel.context("root").history]
    assert drain.new == ["kickoff", "turn 2"]
    assert whole == ["old", "older", "turn 1", "kickoff", "turn 2"]


# Budgets. The original gives an agent whose budget is used up one more answer, without tools, and ends it
# then. Here the task ends at once with the budget's reason: all that was said is in its history, calls that
# it had asked for are answered as not made, and `extend` lets it say its last word.


@pytest.mark.parametrize(
    ("budget", "label", "reason"),
    [
        pytest.param(SchedulerBudget(max_turns=1), "max_turns", "max_turns", id="on_max_turns"),
        pytest.param(
            SchedulerBudget(max_total_tokens=10), "token_budget", "token_budget", id="on_token_budget"
        ),
    ],
)
async def test_budget_exceeded_observation_with_calls_open(budget, label, reason):
    async def agent(turn):
        turn.spend(tokens=10)
        return turn.request(Message.assistant("thinking", [ToolCall("1", "look")]))

    async def drive(kernel):
        await kernel.submit("agent", task_id="root", budget=budget)
        result = await kernel.join("root")
        exceeded = [event.budget for event in kernel.event_log.events if isinstance(event, BudgetExceeded)]
        view = [record.budget for record in kernel.event_log.view().budget_exceeded]
        history = [message.text for message in kernel.context("root").history]
        return result.termination, result.turns_used, exceeded or view, history

    ends = await ends_of({"agent": agent}, drive, tools=[look])
    unmade = f"not made: the budget's {label} was reached"
    assert ends[0] == (reason, 1, [label], ["thinking", unmade])
    assert [end[:2] + end[3:] for end in ends] == [ends[0][:2] + ends[0][3:]] * len(ends)


async def test_max_turns_ends_the_task_with_its_final_message_kept_and_extend_gives_it_a_last_word():
    async def agent(turn):
        if turn.messages and turn.messages[-1].text.startswith("not made"):
            return turn.complete("that is how far I came")
        return turn.request(Message.assistant("one more look", [ToolCall("1", "look")]))

    async def drive(kernel):
        await kernel.submit("agent", task_id="root", budget=SchedulerBudget(max_turns=1))
        first = await kernel.join("root")
        if first.termination == "max_turns":
            await kernel.extend("root", SchedulerBudget(max_turns=2))
        last = await kernel.join("root")
        return last.termination, last.turns_used, last.text, len(kernel.context("root").history)

    ends = await ends_of({"agent": agent}, drive, tools=[look])
    assert ends == [("completed", 2, "that is how far I came", 2)] * len(ends)


async def test_a_budget_that_ends_while_a_turn_is_undone_again_and_again_ends_the_task():
    async def agent(turn):
        return turn.rollback(TimedOut())

    async def drive(kernel):
        await kernel.submit("agent", task_id="root", budget=SchedulerBudget(max_turns=3))
        result = await kernel.join("root")
        return result.termination, result.turns_used

    ends = await ends_of({"agent": agent}, drive)
    assert ends == [("max_turns", 3)] * len(ends)
