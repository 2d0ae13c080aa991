"""Tool results too large for a history: a preview in it, the whole beside it, until the call is archived."""

import pytest
from kernel_kit import Recorder, kernel_of, texts
from living_kit import CONFIG, SMALL, fetch, from_every_commit, run_once, said, turns

from kernelckpt import ContextConfig, Message, SchedulerBudget, ToolCall, tool
from kernelckpt.errors import UsageError
from kernelckpt.kernel.context.spool import marker_of
from kernelckpt.model.handle import Resident, SpooledOut
from kernelckpt.model.os_event import LargeResultSpooled

LARGE = 400  # letters of two bytes: 800 bytes, more than the 600 that stay whole
WIDE = SchedulerBudget(max_tokens=100_000, max_turns=1_000)


def ask(*calls, name="fetch"):
    """A turn that asks for results: (call id, size) each."""

    def request(turn):
        parts = [ToolCall(call_id, name, {"size": size}) for call_id, size in calls]
        return turn.request(Message.assistant("", parts))

    return request


def results(kernel):
    """The tool results in the history, by what they are shown as."""
    history = kernel.context("t").history
    return [part for message in history if message.role == "tool" for part in message.content]


def spools(recorder):
    return [key for key in recorder.saved().records if key[0] == "spool"]


def spooled_events(recorder):
    return [event for event in recorder.kernel.event_log.events if isinstance(event, LargeResultSpooled)]


async def test_a_large_result_is_put_aside_and_can_be_had_whole():
    def read(turn):
        assert turn.spooled("big") == "ä" * LARGE
        with pytest.raises(UsageError, match="small"):
            turn.spooled("small")
        turn.say("read")

    recorder = await from_every_commit(turns(ask(("big", LARGE), ("small", 10)), read))
    big, small = results(recorder.kernel)
    assert marker_of(big.output)
    assert big.output.startswith("ä" * 50 + "\n")  # 101 bytes are cut before half a letter
    assert small.output == "ä" * 10
    assert len(spools(recorder)) == 1
    context = recorder.kernel.context("t")
    assert [handle.residency for handle in context.handles] == [SpooledOut("big"), Resident()]


async def test_the_event_log_says_what_was_put_aside():
    recorder = await run_once(turns(ask(("big", LARGE), ("small", 10))))
    (event,) = spooled_events(recorder)
    assert (event.call_id, event.tool, event.spool_ref) == ("big", "fetch", "big")
    assert (event.original_size, event.preview_size) == (800, 100)


async def test_the_size_is_that_of_bytes_and_the_threshold_itself_stays_whole():
    recorder = await run_once(turns(ask(("at", 300), ("over", 301))))
    assert [bool(marker_of(part.output)) for part in results(recorder.kernel)] == [False, True]


async def test_a_threshold_of_zero_puts_nothing_aside():
    config = ContextConfig(spool_threshold_bytes=0)
    recorder = await run_once(turns(ask(("big", 100_000))), context=config, budget=WIDE)
    assert results(recorder.kernel)[0].output == "ä" * 100_000
    assert spools(recorder) == []


async def test_a_preview_of_nothing_is_its_marker():
    config = ContextConfig(spool_threshold_bytes=1, spool_preview_bytes=0)
    recorder = await from_every_commit(turns(ask(("big", LARGE))), context=config)
    text = results(recorder.kernel)[0].output
    assert text.strip() == marker_of(text)
    assert "first 0 of 800 bytes" in text


async def test_a_large_error_is_put_aside_as_an_error():
    @tool(effect="idempotent")
    async def fail(size: int) -> str:
        raise ValueError("🙂" * size)

    found = []

    def read(turn):
        found.append(turn.spooled("bad"))
        turn.say("read")

    recorder = await run_once(turns(ask(("bad", LARGE), name="fail"), read), tools=[fail])
    (part,) = results(recorder.kernel)
    assert part.is_error
    assert "🙂" * LARGE in found[0]


async def test_what_was_put_aside_goes_with_its_call():
    def squeeze(turn):
        turn.compact(force=True)
        assert turn.spooled("one") == "ä" * LARGE  # staged: not gone yet
        turn.say("squeezed")

    def look(turn):
        with pytest.raises(UsageError, match="one"):
            turn.spooled("one")
        assert turn.spooled("two") == "ä" * (LARGE + 1)
        turn.say("looked")

    program = turns(ask(("one", LARGE)), said("a", "b"), ask(("two", LARGE + 1)), squeeze, look)
    recorder = await from_every_commit(program)
    assert len(spools(recorder)) == 1
    assert texts(recorder.kernel, "t")[-1] == "looked"


async def test_a_renewal_drops_what_it_does_not_carry_over():
    program = turns(ask(("one", LARGE)), said("word " * 100), lambda turn: turn.renew() and None)
    recorder = await from_every_commit(program)
    assert spools(recorder) == []
    assert len(recorder.kernel.context("t").handles) == 0


async def test_a_compression_that_is_undone_drops_nothing():
    async def program(turn):
        if turn.number == 1:
            return ask(("one", LARGE))(turn)
        turn.compact(force=True)
        turn.renew()
        raise ValueError("told to")

    recorder = await run_once(program, fails="told to")
    assert len(spools(recorder)) == 1


async def test_a_shortened_preview_still_stands_for_the_whole():
    config = ContextConfig(spool_threshold_bytes=3_000, spool_preview_bytes=2_900)

    def shorten(turn):
        assert turn.compact("micro_compact", force=True).actions
        assert turn.spooled("big") == "ä" * 4_000

    program = turns(ask(("big", 4_000)), shorten, said("end"))
    recorder = await from_every_commit(program, context=config)
    assert len(results(recorder.kernel)[0].output) < 600
    assert marker_of(results(recorder.kernel)[0].output)
    assert len(spools(recorder)) == 1


async def test_of_two_calls_of_one_id_each_keeps_what_is_its_own():
    def look(turn):
        assert turn.spooled("c") == "ä" * (LARGE + 1)
        turn.compact(force=True)

    def again(turn):
        assert turn.spooled("c") == "ä" * (LARGE + 1)
        turn.say("looked")

    program = turns(ask(("c", LARGE)), said("a", "b"), ask(("c", LARGE + 1)), look, again)
    recorder = await from_every_commit(program)
    assert len(spools(recorder)) == 1
    assert len(results(recorder.kernel)) == 1
    assert [handle.residency for handle in recorder.kernel.context("t").handles] == [SpooledOut("c")]


async def test_a_small_result_does_not_keep_what_an_older_one_of_its_id_put_aside():
    program = turns(
        ask(("c", LARGE)),
        ask(("c", 5)),
        said("a", "b"),
        lambda turn: turn.compact(force=True) and None,
        said("b"),
    )
    recorder = await from_every_commit(program)
    assert [part.output for part in results(recorder.kernel)] == ["ä" * 5]
    assert spools(recorder) == []


async def test_results_that_share_an_id_are_not_all_taken_for_previews():
    program = turns(ask(("c", LARGE)), ask(("c", 280)), ask(("c", 280)))
    recorder = await run_once(program)
    handles = recorder.kernel.context("t").handles
    assert [handle.residency for handle in handles] == [Resident()] * 3


async def test_previews_fill_the_context_too_and_are_compressed_before_all_is_renewed():
    config = ContextConfig(spool_threshold_bytes=600, spool_preview_bytes=600)
    asking = [ask((f"c{number}", LARGE)) for number in range(15)]
    recorder = await from_every_commit(turns(*asking), context=config, auto_compact=True)
    context = recorder.kernel.context("t")
    assert context.effective_pressure == context.pressure < 0.70
    assert context.sprint == 0
    assert context.plan.compression_log


async def test_many_restarts_keep_what_was_put_aside():
    config, saved = {"context": CONFIG, "budget": SMALL}, None

    async def program(turn):
        for message in turn.inbox:
            return ask((message.text, LARGE + int(message.text)))(turn)
        return turn.wait_for_message()

    for number in range(5):
        recorder = Recorder(saved)
        async with kernel_of({"p": program}, hooks=[recorder], tools=[fetch], **config) as kernel:
            await kernel.submit("p", task_id="t")
            await kernel.send("t", Message.user(str(number)))
            await kernel.idle()
            handles = kernel.context("t").handles
        saved = recorder.saved()
    assert [handle.residency for handle in handles] == [SpooledOut(str(n)) for n in range(5)]
    assert len({key[2] for key in saved.records if key[0] == "spool"}) == 5
