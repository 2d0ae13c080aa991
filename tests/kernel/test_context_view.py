"""What a turn sees of its context: how full it is, what lies where, what a model is to be shown."""

import anyio
import pytest
from kernel_kit import Recorder, kernel_of, settle
from living_kit import SMALL, count_decodes, fetch, from_every_commit, growing, life, run_once, said, turns

from kernelckpt import (
    ContextConfig,
    HandleTable,
    Message,
    PlanUpdate,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    ToolCall,
    ToolResultPart,
    Urgency,
)
from kernelckpt.abc import Append
from kernelckpt.kernel.context.tally import ToolResultSeen
from kernelckpt.kernel.context.tokens import count
from kernelckpt.model.handle import Collapsed, Resident

WIDE = SchedulerBudget(max_tokens=1_000_000, max_turns=1_000_000)
WORDS = "word " * 100  # 125 tokens


async def test_tokens_and_pressure_are_those_at_the_begin_of_the_turn():
    seen = []

    def look(turn):
        turn.say(WORDS)
        turn.append(Message.system(WORDS), partition="system")
        turn.page_in(Message.user(WORDS))
        seen.append((turn.context.tokens, turn.context.pressure))

    await run_once(turns(look, look, lambda turn: turn.observed(500), look))
    goal = count("[TASK STATE] goal: to grow")
    assert seen == [
        (goal, goal / 1000),
        (goal + 375, (goal + 375) / 1000),
        (goal + 750, 0.5),
    ]


async def test_a_count_that_came_with_a_message_goes_before_the_estimate():
    program = turns(lambda turn: turn.append(Message("user", "short", token_count=900)))
    recorder = await from_every_commit(program)
    assert recorder.kernel.context("t").pressure > 0.9


async def test_looking_at_the_pressure_each_turn_decodes_each_message_once(monkeypatch):
    size, decodes = 5_000, count_decodes(monkeypatch)
    fullest = 0.0

    async def program(turn):
        nonlocal fullest
        fullest = max(fullest, turn.context.pressure, turn.context.effective_pressure)
        turn.compact()
        turn.say(f"turn {turn.number}")
        return turn.complete("done") if turn.number == size else None

    async with kernel_of({"p": program}, budget=WIDE, auto_compact=True) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).ok
        assert len(kernel.context("t").history) == size
    assert 0 < fullest < 0.1
    assert decodes.times <= size


async def test_a_turn_that_leaves_its_context_alone_writes_none():
    def look(turn):
        assert turn.context.tokens
        assert turn.notes == ()
        turn.render()
        turn.set_state({"n": turn.number})

    recorder = await run_once(turns(*[look] * 5), auto_compact=True)
    kinds = [change.key[0] for commit in recorder.commits[2:] for change in commit.changes]
    assert "state" in kinds
    assert {"context", "meter", "history", "knowledge", "system", "spool"}.isdisjoint(kinds)


async def test_a_view_is_of_its_moment():
    recorder = await run_once(turns(said("a", "b", "c", "d", "e")))
    saved = recorder.saved()
    saved.records[("task", "t", 0)] = recorder.history[-2].records[("task", "t", 0)]
    entered, go_on = anyio.Event(), anyio.Event()

    async def program(turn):
        if turn.number == 2:
            entered.set()
            await go_on.wait()
            turn.compact(force=True)
            turn.say(WORDS)
            return None
        return turn.complete("done")

    async with kernel_of({"p": program}, hooks=[Recorder(saved)], budget=SMALL) as kernel:
        await entered.wait()
        measured, unmeasured, texts = (kernel.context("t") for _ in range(3))
        tokens = measured.tokens
        go_on.set()
        await kernel.join("t")
        now = kernel.context("t")
    assert (measured.tokens, unmeasured.tokens) == (tokens, tokens)
    assert unmeasured.handles == measured.handles
    assert [message.text for message in texts.history] == ["a", "b", "c", "d", "e"]
    assert [message.text for message in now.history] == ["b", "c", "d", "e", WORDS]
    assert now.tokens > tokens + 100


async def test_handles_looked_at_late_are_those_of_their_moment():
    def ask(turn):
        return turn.request(Message.assistant("", [ToolCall(f"c{turn.number}", "fetch", {"size": 10})]))

    views = []

    def look(turn):
        assert turn.context.tokens
        views.append(turn.context)
        turn.say("looked")

    await run_once(turns(ask, look, ask, look))
    assert [[handle.source for handle in view.handles] for view in views] == [["c1"], ["c1", "c3"]]


async def test_the_handle_table_is_recreated_equal_after_each_commit():
    recorder = await from_every_commit(growing, auto_compact=True)
    context = recorder.kernel.context("t")
    results = [part for message in context.history for part in _results(message)]
    seen = [ToolResultSeen(part.call_id, count(part.output)) for part in results]
    spooled = {result.call_id for result in recorder.kernel.snapshot().spools.get("t", {}).values()}
    assert context.handles == HandleTable.rebuild(seen, spooled, context.pressure)


def _results(message):
    parts = () if isinstance(message.content, str) else message.content
    return [part for part in parts if isinstance(part, ToolResultPart)]


async def test_when_it_is_full_older_results_are_shown_as_previews_until_there_is_room():
    shown = []

    def many(turn):
        calls = [ToolCall(f"c{number}", "fetch", {"size": 600}) for number in range(6)]
        return turn.request(Message.assistant("", calls))

    def look(turn):
        rendered = turn.render().turns
        outputs = [part.output for message in rendered for part in _results(message)]
        shown.append(
            (
                [handle.residency for handle in turn.context.handles],
                ["collapsed" in text for text in outputs],
            )
        )
        turn.say("looked")
        turn.observed(100)

    recorder = await from_every_commit(
        turns(many, look, look), context=ContextConfig(), budget=SchedulerBudget(max_tokens=930, max_turns=99)
    )
    older, newest = [Collapsed()] * 2, [Resident()] * 4
    assert shown[:2] == [(older + newest, [True] * 2 + [False] * 4), ([Resident()] * 6, [False] * 6)]
    assert recorder.kernel.context("t").config == ContextConfig()


@pytest.mark.parametrize(("max_tokens", "newest"), [(None, 3), (0, 0), (125, 1), (10**12, 3)])
async def test_a_context_is_rendered_with_as_much_history_as_fits(max_tokens, newest):
    def look(turn):
        rendered = turn.render(max_tokens)
        state, *history = rendered.turns
        assert rendered.system_text == "rules\n\nknown"
        assert "[TASK STATE] goal: to grow" in state.text
        assert "stay brief" in state.text
        assert [message.text for message in history] == [WORDS] * newest
        assert rendered.omitted == 3 - newest
        turn.say("done")

    def fill(turn):
        turn.append(Message.system("rules"), partition="system")
        turn.page_in(Message.user("known"))
        turn.directive("stay brief")
        said(WORDS, WORDS, WORDS)(turn)

    recorder = await run_once(turns(fill, look))
    assert recorder.kernel.tasks.get("t").result.text == "done"


async def test_lines_are_read_once_and_stay_if_the_turn_does_not():
    read = []

    async def program(turn):
        read.append((turn.render().turns[0].text, turn.notes))
        if len(read) == 1:
            return turn.wait_external("door")
        if len(read) == 2:
            await anyio.sleep_forever()
        turn.say("read")
        return turn.complete("done") if len(read) == 4 else None

    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", goal="to grow")
        await kernel.idle()
        await kernel.signal(RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.LOW, "soon"), "t")
        await kernel.signal(RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.HIGH, "look"), "t")
        await kernel.resume("t") if kernel.tasks.get("t").wait else None
        await settle()
        saved = recorder.saved()
        await kernel.stop(0)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.join("t")
    lines = [notes for _, notes in read]
    assert lines[0] == ()
    assert any("look" in line for line in lines[1])
    assert lines[2] == lines[1]
    assert lines[3] == ()
    assert all(line in read[2][0] for line in lines[2])


async def test_the_plan_is_what_its_updates_made_of_it_after_every_restore():
    def update(turn):
        turn.update_plan(PlanUpdate(goal="ziel 🙂", criteria=("a",), plan=("x", "y"), current_step=1))
        turn.update_plan(PlanUpdate(progress="half", blocked_on=("z",), scratchpad="pad"))
        turn.update_plan(PlanUpdate(directives=tuple(map(str, range(10))), preserved_refs=("c",)))

    recorder = await from_every_commit(turns(update, said("end")))
    plan = recorder.kernel.context("t").plan
    assert (plan.goal, plan.criteria, plan.open_steps, plan.current_step) == (
        "ziel 🙂",
        ("a",),
        ("x", "y"),
        1,
    )
    assert (plan.progress, plan.blocked_on, plan.scratchpad) == ("half", ("z",), "pad")
    assert plan.directives == tuple(map(str, range(2, 10)))
    assert plan.preserved_refs == ("c",)


async def test_nothing_said_before_is_appended_again_after_a_restore():
    first = Recorder()
    await life(turns(said("a"), said("b")), first)
    middle = next(state for state in first.history if len(state.streams.get(("history", "t", 0), ())) == 1)
    second = Recorder(middle)
    await life(turns(said("a"), said("b")), second)
    changes = [change for commit in second.commits for change in commit.changes]
    appended = [item for item in changes if isinstance(item, Append) and item.key[0] == "history"]
    assert [(item.start, len(item.items)) for item in appended] == [(1, 1)]


async def test_a_reply_whose_calls_are_open_is_not_in_the_history():
    started, go_on = anyio.Event(), anyio.Event()

    async def hold(size: int):
        started.set()
        await go_on.wait()
        return "x" * size

    def ask(turn):
        return turn.request(Message.assistant("thinking", [ToolCall("c", "hold", {"size": 1})]))

    async with kernel_of({"p": turns(ask)}, tools=[fetch, hold]) as kernel:
        await kernel.submit("p", task_id="t")
        await started.wait()
        context = kernel.context("t")
        assert (context.request.text, len(context.history)) == ("thinking", 0)
        go_on.set()
        await kernel.join("t")
        assert (kernel.context("t").request, len(kernel.context("t").history)) == (None, 2)
        assert context.request.text == "thinking"
