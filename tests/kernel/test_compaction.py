"""Contexts that are compressed and renewed while agents live: by their turns, and by the kernel."""

import anyio
import pytest
from kernel_kit import Recorder, kernel_of, texts
from living_kit import (
    count_decodes,
    from_every_commit,
    growing,
    life,
    run_once,
    said,
    turns,
)

from kernelckpt import (
    CompressionAction,
    ContextConfig,
    Message,
    PlanUpdate,
    ProviderFailure,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    Urgency,
)
from kernelckpt.abc import Append, Put, Remove
from kernelckpt.errors import InvalidValueError, UsageError

FORCE = {"force": True}
WORDS = "word " * 100  # 125 tokens
COLLAPSING = ContextConfig(preserve_recent_msgs=2, preserve_recent_turns=1)


def context_of(recorder):
    return recorder.kernel.context("t")


def changes_of(recorder, kind):
    """What commits did to a kind of record."""
    return [change for commit in recorder.commits for change in commit.changes if change.key[0] == kind]


# the same end


@pytest.mark.parametrize("auto_compact", [False, True])
async def test_a_life_comes_to_the_same_end_from_every_commit(auto_compact):
    recorder = await from_every_commit(growing, auto_compact=auto_compact)
    context = context_of(recorder)
    assert context.sprint >= 3
    assert context.last_handoff is not None
    assert context.plan.compression_log
    assert len(recorder.history) > 30


async def test_messages_said_after_a_compression_stay_whole_and_behind():
    def squeeze(turn):
        turn.say("before")
        done = turn.compact(**FORCE)
        assert [message.text for message in done.archived] == ["a", "b", "c"]
        turn.say(WORDS)
        turn.say("last")

    recorder = await run_once(turns(said("a", "b", "c", "d"), squeeze), context=COLLAPSING)
    assert texts(recorder.kernel, "t") == ["d", "before", WORDS, "last"]


async def test_a_rewritten_history_is_a_new_generation_and_what_stays_keeps_its_bytes():
    recorder = await run_once(
        turns(said("a", "b", "c", "d"), lambda turn: turn.compact(**FORCE)), context=COLLAPSING
    )
    before, after = changes_of(recorder, "history")[0], changes_of(recorder, "history")[1:]
    assert after == [
        Remove(("history", "t", 0)),
        Append(("history", "t", 1), 0, before.items[2:]),
    ]
    assert [key for key in recorder.saved().streams if key[0] == "history"] == [("history", "t", 1)]


async def test_unchanged_messages_keep_bytes_that_no_encoder_of_today_would_write():
    # a message decoded and encoded again would lose them: what an older version wrote stays as it was
    recorder = await run_once(turns(said("a", WORDS, "c", "d")))
    saved = recorder.saved()
    key = ("history", "t", 0)
    odd = b"\x82\xa7content\xa1c\xa4role\xa9assistant"
    items = (*saved.streams[key][:2], odd, saved.streams[key][3])
    saved.streams[key] = items
    saved.records[("task", "t", 0)] = next(
        state.records[("task", "t", 0)] for state in recorder.history if key in state.streams
    )
    again = Recorder(saved)
    await life(turns(said(), lambda turn: turn.compact("snip_compact", force=True)), again)
    kept = again.saved().streams[("history", "t", 1)]
    assert (kept[0], kept[2], kept[3]) == (items[0], odd, items[3])
    assert kept[1] != items[1]


async def test_twice_in_a_turn_and_a_renewal_on_top():
    def squeeze(turn):
        turn.say("e")
        turn.compact(**FORCE)
        turn.say("f")
        turn.say("g")
        second = turn.compact(**FORCE)
        assert [message.text for message in second.archived] == ["d", "e"]
        turn.say("h")
        handoff = turn.renew()
        assert (handoff.sprint, handoff.history_len, handoff.carried_len) == (0, 3, 3)
        again = turn.renew()
        assert (again.sprint, again.history_len) == (1, 3)
        turn.say("i")

    recorder = await from_every_commit(turns(said("a", "b", "c", "d"), squeeze), context=COLLAPSING)
    context = context_of(recorder)
    assert texts(recorder.kernel, "t") == ["f", "g", "h", "i"]
    assert (context.sprint, context.last_handoff.sprint) == (2, 1)
    assert len(context.plan.compression_log) == 2
    assert len([key for key in recorder.saved().streams if key[0] == "history"]) == 1
    assert recorder.kernel.event_log.counts["compressed"] == 2


async def test_a_turn_that_is_undone_leaves_the_history_as_it_was():
    def squeeze(turn):
        turn.compact(**FORCE)
        turn.renew()
        turn.observed(999)
        turn.page_in(Message.user("known"))
        return turn.rollback(ProviderFailure("gone"))

    recorder = await run_once(turns(said("a", "b", "c"), squeeze))
    assert texts(recorder.kernel, "t") == ["a", "b", "c"]
    context = context_of(recorder)
    assert (context.sprint, context.last_handoff, len(context.knowledge)) == (0, None, 0)
    assert context.plan.compression_log == ()
    assert changes_of(recorder, "meter") == []
    assert not [change for change in changes_of(recorder, "history") if isinstance(change, Remove)]


async def test_a_turn_that_raises_leaves_the_history_as_it_was():
    async def program(turn):
        if turn.number == 1:
            return said("a", "b", "c")(turn)
        turn.compact(**FORCE)
        raise ValueError("told to")

    recorder = await run_once(program, fails="told to")
    assert texts(recorder.kernel, "t") == ["a", "b", "c"]


# what pressure says


async def test_pressure_counts_what_the_turn_has_staged():
    seen = []

    def much(turn):
        seen.append(turn.compact().actions)
        for _ in range(7):
            turn.say(WORDS)
        seen.append(turn.compact().actions)
        seen.append(turn.compact().actions)

    recorder = await run_once(turns(said("a"), much), context=COLLAPSING)
    assert [bool(actions) for actions in seen] == [False, True, False]
    assert context_of(recorder).pressure < 0.70


async def test_what_the_provider_counted_goes_before_the_estimate_in_the_same_turn():
    def much(turn):
        turn.observed(960)
        assert turn.compact().archived
        assert not turn.compact().actions

    recorder = await run_once(turns(said("a", "b", "c", "d"), much), context=COLLAPSING)
    assert context_of(recorder).pressure < 0.1
    assert recorder.saved().records[("meter", "t", 0)]


async def test_nothing_to_do_decodes_nothing_and_writes_no_context(monkeypatch):
    decodes = []

    def nothing(turn):
        seen = count_decodes(monkeypatch)
        done = turn.compact()
        decodes.append(seen.times)
        assert (done.actions, done.archived, done.notes) == ((), (), ())
        assert [message.text for message in done.messages[:2]] == ["a", "b"]
        assert len(done.messages) == 3
        assert done.tokens_before == done.tokens_after == turn.context.tokens
        turn.say("c")

    recorder = await run_once(turns(said("a", "b"), lambda turn: turn.say(str(turn.context.tokens)), nothing))
    assert decodes == [1]  # the message of the turn before, counted for the first time
    assert len(changes_of(recorder, "context")) == 1


@pytest.mark.parametrize("max_tokens", [0, 1, 1_000])
async def test_an_empty_history_and_windows_of_any_size(max_tokens):
    def nothing(turn):
        assert turn.compact(**FORCE).actions == ()
        assert turn.renew().history_len == 0
        turn.observed(5)

    def more(turn):
        turn.say("one")
        turn.compact(**FORCE)
        turn.renew()

    budget = SchedulerBudget(max_tokens=max_tokens, max_turns=100)
    recorder = await from_every_commit(turns(nothing, more), budget=budget, auto_compact=True)
    assert texts(recorder.kernel, "t") == ["one"]
    assert context_of(recorder).sprint == 2
    assert not [change for change in changes_of(recorder, "history") if change.key[2] == 0]


async def test_one_huge_message():
    def squeeze(turn):
        done = turn.compact()
        assert len(done.messages) == 1
        assert done.tokens_after < 400

    huge = "🙂ä\u0000x" * 500_000
    recorder = await from_every_commit(turns(said(huge), squeeze))
    text = texts(recorder.kernel, "t")[0]
    assert text.startswith("🙂ä\u0000x")
    assert text.endswith("🙂ä\u0000x")


async def test_results_whose_calls_nobody_made():
    def odd(turn):
        for number in range(6):
            turn.append(Message.tool_result(f"o{number}", WORDS * 3))
        turn.append(Message.tool_result("o0", "again"))

    recorder = await from_every_commit(
        turns(odd, lambda turn: turn.compact(**FORCE), said("end")), auto_compact=True
    )
    assert texts(recorder.kernel, "t")[-1] == "end"
    assert {handle.source for handle in context_of(recorder).handles} <= {f"o{n}" for n in range(6)}


async def test_twenty_thousand_messages_are_each_decoded_a_few_times_at_most(monkeypatch):
    size = 20_000
    counts = []

    def squeeze(turn):
        seen = count_decodes(monkeypatch)
        done = turn.compact(**FORCE)
        counts.append(seen.times)
        assert len(done.archived) + len(done.messages) == size

    program = turns(said(*(f"message {number}" for number in range(size))), squeeze)
    recorder = await run_once(program, auto_compact=True, budget=SchedulerBudget(max_tokens=10**9))
    assert counts[0] <= 2 * size
    assert len(context_of(recorder).history) == 4


# beside what happens meanwhile


async def test_what_arrives_while_a_compression_is_staged_is_kept():
    entered, go_on = anyio.Event(), anyio.Event()

    async def program(turn):
        if turn.number == 1:
            return said("a", "b", "c")(turn)
        if turn.number == 2:
            assert turn.notes == ()
            turn.compact(**FORCE)
            turn.renew()
            entered.set()
            await go_on.wait()
            return None
        return turn.complete(output=[list(turn.notes), [signal.summary for signal in turn.signals]])

    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder], context=COLLAPSING) as kernel:
        await kernel.submit("p", task_id="t")
        await entered.wait()
        signal = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.HIGH, "look up")
        await kernel.signal(signal, "t")
        await kernel.send("t", Message.user("hello"))
        go_on.set()
        result = await kernel.join("t")
        context = kernel.context("t")
    notes, signals = result.output
    assert signals == ["look up"]
    assert len(notes) == 1
    assert "look up" in notes[0]
    assert any("look up" in text for text in context.plan.directives)
    assert context.plan.compression_log
    assert [message.text for message in context.history] == ["b", "c"]


async def test_a_turn_that_is_broken_off_while_it_compresses_leaves_no_trace():
    entered = anyio.Event()

    async def program(turn):
        if turn.number == 1:
            return said("a", "b", "c")(turn)
        if not turn.signals:
            turn.compact(**FORCE)
            entered.set()
            await anyio.sleep_forever()
        return turn.complete("done")

    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder], context=COLLAPSING) as kernel:
        await kernel.submit("p", task_id="t")
        await entered.wait()
        await kernel.signal(
            RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "now"), "t"
        )
        await kernel.join("t")
        assert texts(kernel, "t") == ["a", "b", "c"]


# what is refused


def refusals(turn):
    def query():
        turn.query_memory("what", 2**40)

    def flag():
        turn.query_memory("what", 1, is_async="yes")

    return [
        (lambda: turn.compact("squash"), "action"),
        (lambda: turn.observed(-1), "prompt_tokens"),
        (lambda: turn.observed(True), "prompt_tokens"),
        (lambda: turn.observed(2**32), "prompt_tokens"),
        (lambda: turn.page_in(Message.user("good"), "bad"), r"messages\[1\]"),
        (lambda: turn.render(-1), "max_tokens"),
        (lambda: turn.unmount("nothing", "x"), "kind"),
        (query, "requested_k"),
        (flag, "requires_async_response"),
        (lambda: turn.update_plan(PlanUpdate(current_step=-1)), "current_step"),
        (lambda: turn.update_plan({"goal": "x"}), "update"),
    ]


@pytest.mark.parametrize("index", range(11))
async def test_what_could_not_be_restored_is_refused_and_leaves_nothing(index):
    def check(turn):
        do, named = refusals(turn)[index]
        with pytest.raises(InvalidValueError, match=named):
            do()
        assert turn.stalled
        turn.say("fine")

    recorder = await from_every_commit(turns(check))
    assert texts(recorder.kernel, "t") == ["fine"]


async def test_a_current_step_is_one_of_the_steps_as_they_are_staged():
    def check(turn):
        with pytest.raises(UsageError, match="current_step 0 of 0"):
            turn.update_plan(PlanUpdate(current_step=0))
        turn.plan(["a", "b"])
        turn.update_plan(PlanUpdate(current_step=1))
        with pytest.raises(UsageError, match="current_step 1 of 1"):
            turn.update_plan(PlanUpdate(plan=("c",)))

    recorder = await run_once(turns(check))
    assert recorder.kernel.context("t").plan.current_step == 1


async def test_a_compression_writes_the_context_once():
    recorder = await run_once(turns(said(WORDS, "b"), lambda turn: turn.compact("snip_compact", force=True)))
    context = [change.record for change in changes_of(recorder, "context") if isinstance(change, Put)]
    assert [record.history for record in context] == [0, 1]
    assert CompressionAction.SNIP_COMPACT.value == context[-1].plan.compression_log[0].action
