"""Contexts that the kernel compresses by itself, and rewritten histories in storages."""

import itertools

import anyio
from kernel_kit import Recorder, kernel_of, settle, texts
from living_kit import (
    CONFIG,
    SMALL,
    fetch,
    from_every_commit,
    run_once,
    said,
    turns,
)

from kernelckpt import (
    CheckpointHook,
    ContextConfig,
    FileStorage,
    LogOptions,
    MemoryStorage,
    Message,
    Retention,
    ToolCall,
    load,
    verify,
)
from kernelckpt.kernel.context.plan import MAX_NOTES
from kernelckpt.testing import ManualClock

FORCE = {"force": True}
WORDS = "word " * 100  # 125 tokens
COLLAPSING = ContextConfig(preserve_recent_msgs=2, preserve_recent_turns=1)


def context_of(recorder):
    return recorder.kernel.context("t")


def changes_of(recorder, kind):
    """What commits did to a kind of record."""
    return [change for commit in recorder.commits for change in commit.changes if change.key[0] == kind]


# what the kernel does by itself


def filled(number):
    return said(*(f"{index} {WORDS}" for index in range(number)))


async def test_the_kernel_compresses_only_where_it_was_told_to():
    program = turns(filled(9), said("end"))
    left_alone = await run_once(program, context=COLLAPSING)
    assert len(context_of(left_alone).history) == 10
    assert context_of(left_alone).pressure > 1
    assert changes_of(left_alone, "history")[-1].key[2] == 0
    compressed = await from_every_commit(program, context=COLLAPSING, auto_compact=True)
    context = context_of(compressed)
    assert context.pressure < 0.70
    assert (context.sprint, texts(compressed.kernel, "t")[-1]) == (0, "end")


async def test_the_kernel_renews_what_cannot_be_compressed_enough():
    keeping = ContextConfig(preserve_recent_msgs=100, snip_per_msg_ratio=1.0)
    recorder = await from_every_commit(turns(filled(9), said("end")), context=keeping, auto_compact=True)
    context = context_of(recorder)
    assert context.sprint == 1
    assert context.last_handoff.history_len == 9
    assert texts(recorder.kernel, "t") == ["end"]


async def test_a_window_that_its_rules_fill_is_not_renewed_for_ever():
    rules = [Message.system(WORDS)] * 10

    def fill(turn):
        for message in rules:
            turn.append(message, partition="system")
        turn.say("a")

    recorder = await run_once(turns(fill, *[said("more")] * 8), auto_compact=True)
    context = context_of(recorder)
    assert context.pressure > 1
    assert (context.sprint, texts(recorder.kernel, "t")) == (0, ["more"] * 4)


async def test_a_pause_reduces_large_results_once_and_renews_nothing_then():
    clock = ManualClock()

    async def program(turn):
        if turn.number <= 2:
            call = ToolCall(f"c{turn.number}", "fetch", {"size": 900})
            return turn.request(Message.assistant("", [call]))
        if turn.number == 3:
            turn.observed(990)  # nearly full; the pause alone makes room
            return turn.sleep(3_700)
        return turn.complete(output=turn.context.pressure)

    config = ContextConfig(preserve_recent_msgs=100, snip_per_msg_ratio=1.0)
    recorder = Recorder()
    options = {"tools": [fetch], "context": config, "budget": SMALL, "clock": clock, "auto_compact": True}
    async with kernel_of({"p": program}, hooks=[recorder], **options) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert len(changes_of(recorder, "context")) == 1
        await clock.advance(3_700)
        result = await kernel.join("t")
    context = context_of(recorder)
    assert result.output < 0.5
    assert context.sprint == 0
    assert [note.action for note in context.plan.compression_log] == ["micro_compact"]
    assert len(context.history) == 4


async def test_a_turn_that_is_run_again_finds_the_history_by_which_it_made_its_calls():
    clock, asked = ManualClock(), []

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c", "fetch", {"size": 960})]))
        asked.append(turn.messages[-1].text)
        await turn.call("fetch", size=len(asked[-1]))
        if len(asked) == 1:
            await anyio.sleep_forever()
        return turn.complete("done")

    first = Recorder()
    options = {"tools": [fetch], "budget": SMALL, "auto_compact": True}
    async with kernel_of({"p": program}, hooks=[first], clock=clock, **options) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        saved = first.saved()
        await kernel.stop(0)
    assert any(key[0] == "effect" for key in saved.records)
    later = ManualClock(clock.wall_ms() + 86_400_000)
    second = Recorder(saved)
    async with kernel_of({"p": program}, hooks=[second], clock=later, **options) as kernel:
        assert (await kernel.join("t")).ok
    assert asked == [asked[0]] * 2


async def test_the_log_of_compressions_keeps_the_newest():
    def squeeze(turn):
        turn.say("x")
        turn.say("y")
        turn.compact(**FORCE)

    config = ContextConfig(preserve_recent_msgs=0, preserve_recent_turns=0)
    recorder = await run_once(turns(*[squeeze] * (MAX_NOTES + 6)), context=config)
    assert len(context_of(recorder).plan.compression_log) == MAX_NOTES


# kept by a storage


async def endless(turn):
    """Grow a little with each message, in every way there is."""
    inbox = turn.inbox
    if not inbox:
        return turn.wait_for_message()
    number = turn.number
    turn.say(f"{inbox[0].text} {WORDS}")
    turn.page_in(Message.user(f"known {number}")) if number % 5 == 0 else None
    if number % 3 == 0:
        turn.compact(force=number % 2 == 0)
    if number % 7 == 0:
        turn.renew()
    turn.say(f"turn {number}")
    call = ToolCall(f"c{number % 4}", "fetch", {"size": 400 if number % 2 else 10})
    return turn.request(Message.assistant("", [call]))


def hook_of(storage, **options):
    return CheckpointHook(
        storage,
        every=None,
        owner_wait=0,
        log=LogOptions(base_min_bytes=1, base_factor=0.1, base_max_entries=3, slice_seconds=0.0),
        **options,
    )


async def one_life(storage, messages, **options):
    """Hand an agent these messages one by one, a base begun after each; what its context is in the end."""
    hook, clock = hook_of(storage, **options), ManualClock()
    settings = {"tools": [fetch], "context": CONFIG, "budget": SMALL, "auto_compact": True, "clock": clock}
    async with kernel_of({"p": endless}, hooks=[hook], **settings) as kernel:
        await kernel.submit("p", task_id="t")
        for message in messages:
            await kernel.send("t", Message.user(message))
            await clock.advance(1)  # the hook looks whether a base pays, and writes it while turns go on
            await kernel.idle()
        while messages and not hook.stats.bases:
            await clock.advance(1)
        context = kernel.context("t")
        facts = (
            list(context.history),
            list(context.knowledge),
            context.plan,
            context.handles,
            context.sprint,
        )
    return facts, hook.stats


async def test_rewritten_histories_survive_bases_and_pruning_in_files(tmp_path):
    async with FileStorage(tmp_path) as storage:
        before, bases = None, 0
        for start in range(5):
            if before is not None:
                found, _ = await one_life(storage, [], retention=Retention(bases=1))
                assert found == before
            before, stats = await one_life(
                storage, [f"{start}-{index}" for index in range(8)], retention=Retention(bases=1)
            )
            bases += stats.bases
            report = await verify(storage, "run")
            assert report.ok, report.findings
        assert bases >= 5
        assert before[4] >= 4
        kept = await load(storage, "run")
        assert list(kept.contexts["t"].history_messages) == before[0]


async def test_every_checkpoint_of_rewritten_histories_is_sound():
    storage = MemoryStorage()
    facts, _ = await one_life(storage, list(map(str, range(30))), retention=Retention(keep_all=True))
    again, _ = await one_life(storage, [], retention=Retention(keep_all=True))
    assert again == facts
    run = storage._state.runs["run"]
    for sequence in itertools.islice(sorted(run.entries), 0, None, 3):
        report = await verify(storage, "run", sequence)
        assert report.ok, (sequence, report.findings)
