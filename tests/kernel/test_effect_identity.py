"""What a rerun knows a call by, and what becomes of calls that it does not ask for any more."""

import asyncio
from collections import Counter

import anyio
import msgspec
import pytest
from effect_kit import World, crashed, restarted, run
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import (
    CheckpointHook,
    MemoryStorage,
    RuntimeSignal,
    SignalSource,
    SignalType,
    TimedOut,
    Urgency,
    tool,
    verify,
)
from kernelckpt.errors import EffectDenied, EffectError, UsageError


class Yielding(World):
    """A world that takes a moment."""

    async def pay(self, amount):
        self.calls.append(amount)
        await settle(3)
        return {"paid": amount}


def paying(world, **options):
    return tool(name="pay", **options)(world.pay)


# keys


async def test_a_call_with_a_key_is_known_by_it_whatever_its_arguments():
    world, crash = World(), anyio.Event()

    async def program(turn):
        amount = turn.attempt * 10
        paid = await turn.effect(paying(world).options(key="rent"), amount)
        if turn.attempt == 1:
            crash.set()
            await anyio.sleep_forever()
        return turn.complete(output=paid)

    saved = await crashed(program, crash)
    assert (await restarted(program, saved)).output == {"paid": 10}
    assert world.calls == [10]


async def test_a_key_that_is_used_again_in_a_turn_is_the_same_call():
    world = World()

    async def program(turn):
        rent = paying(world).options(key="rent")
        first, second = await turn.effect(rent, 5), await turn.effect(rent, 5)
        with pytest.raises(UsageError, match="the key 'rent' of pay stands for a call with other arguments"):
            await turn.effect(rent, 6)
        await turn.effect(paying(world), 5)
        return turn.complete(output=[first, second])

    assert (await run(program)).output == [{"paid": 5}] * 2
    assert world.calls == [5, 5]


async def test_calls_alike_at_the_same_time_need_keys():
    world = Yielding()

    async def program(turn):
        pay = paying(world)
        alike = [turn.effect(pay, 1), turn.effect(pay, 1)]
        paid, refused = await asyncio.gather(*alike, return_exceptions=True)
        assert "two calls of pay with the same arguments are made at the same time" in str(refused)
        assert "key" in refused.hint
        keyed = [turn.effect(pay.options(key=name), 1) for name in ("a", "b", "a")]
        *both, again = await asyncio.gather(*keyed, return_exceptions=True)
        assert "with the key 'a' are made at the same time" in str(again)
        await turn.effect(pay, 1)
        return turn.complete(output=[paid, *both])

    assert (await run(program)).output == [{"paid": 1}] * 3
    assert world.calls == [1, 1, 1, 1]


async def test_calls_at_the_same_time_get_their_own_outcomes_after_a_crash():
    world, crash = Yielding(), anyio.Event()

    async def chain(turn, first):
        paid = await turn.effect(paying(world), first)
        return await turn.effect(paying(world), paid["paid"] + 1)

    async def program(turn):
        found = await asyncio.gather(*(chain(turn, number) for number in (10, 20, 30)))
        if turn.attempt == 1:
            crash.set()
            await anyio.sleep_forever()
        return turn.complete(output=[item["paid"] for item in found])

    saved = await crashed(program, crash)
    assert (await restarted(program, saved)).output == [11, 21, 31]
    assert sorted(world.calls) == [10, 11, 20, 21, 30, 31]


async def test_a_chain_that_was_slower_goes_on_after_a_crash_though_the_others_were_done():
    world, crash = Yielding(), anyio.Event()

    async def chain(turn, first, *, stuck=False):
        await turn.effect(paying(world), first)
        if stuck and turn.attempt == 1:
            await settle(30)
            crash.set()
            await anyio.sleep_forever()
        await turn.effect(paying(world), first + 1)

    async def program(turn):
        await asyncio.gather(chain(turn, 10, stuck=True), chain(turn, 20), chain(turn, 30))
        return turn.complete("done")

    saved = await crashed(program, crash)
    assert (await restarted(program, saved)).text == "done"
    assert sorted(world.calls) == [10, 11, 20, 21, 30, 31]


# calls within calls


async def test_a_call_within_a_call_is_another_than_one_alike_beside_it():
    world, crash = World(), anyio.Event()

    async def program(turn):
        @tool
        async def both():
            return [await turn.effect(paying(world), 1), await turn.effect(paying(world), 2)]

        await turn.effect(both)
        if turn.attempt == 1:
            crash.set()
            await anyio.sleep_forever()
        return turn.complete(output=await turn.effect(paying(world), 1))

    saved = await crashed(program, crash)
    assert (await restarted(program, saved)).output == {"paid": 1}
    assert world.calls == [1, 2, 1]


async def test_a_call_in_doubt_that_is_made_again_finds_the_calls_within_it():
    world, crash = World(), anyio.Event()

    async def program(turn):
        @tool(effect="idempotent")
        async def both():
            paid = await turn.effect(paying(world), 1)
            if turn.attempt == 1:
                crash.set()
                await anyio.sleep_forever()
            return [paid, await turn.effect(paying(world), 2)]

        return turn.complete(output=await turn.effect(both))

    saved = await crashed(program, crash)
    assert (await restarted(program, saved)).output == [{"paid": 1}, {"paid": 2}]
    assert world.calls == [1, 2]


async def test_what_an_earlier_release_has_recorded_is_found_though_it_has_not_told_what_is_part_of_what():
    world, crash = World(), anyio.Event()

    async def program(turn):
        @tool(effect="idempotent")
        async def both():
            await turn.effect(paying(world), 1)
            if turn.attempt == 1:
                crash.set()
                await anyio.sleep_forever()
            await turn.effect(paying(world), 2)

        await turn.effect(paying(world), 1)
        await turn.effect(both)
        return turn.complete("done")

    saved = await crashed(program, crash)
    seen = Counter()
    for key in sorted(key for key in saved.records if key[0] == "effect"):
        record = msgspec.msgpack.decode(saved.records[key])
        for field in ("turn", "within", "occurrence"):
            record.pop(field, None)
        alike = (record["name"], bytes(record["digest"]))
        saved.records[key] = msgspec.msgpack.encode({**record, "occurrence": seen[alike]})
        seen[alike] += 1
    assert max(seen.values()) == 2
    assert (await restarted(program, saved)).text == "done"
    assert world.calls == [1, 1, 2]


# another path


def changing(world, before, after, *, effect="ask"):
    """A program that pays something, and something else (or nothing, for 0) when it is run again."""
    crash = anyio.Event()

    async def program(turn):
        amount = before if turn.attempt == 1 else after
        said = "nothing"
        if amount:
            try:
                said = f"paid {(await turn.effect(paying(world, effect=effect), amount))['paid']}"
            except EffectDenied as error:
                said = f"denied: {error.error}"
        if turn.attempt == 1:
            crash.set()
            await anyio.sleep_forever()
        return turn.complete(said)

    return program, crash


async def test_another_path_drops_what_may_be_repeated():
    world = World()
    program, crash = changing(world, 5, 7, effect="idempotent")
    saved = await crashed(program, crash)
    assert (await restarted(program, saved)).text == "paid 7"
    assert world.calls == [5, 7]


@pytest.mark.parametrize(
    ("answer", "text", "calls"),
    [("approve", "paid 7", [5, 7]), ("deny", "denied: once is enough", [5]), ("outcome", "paid 5", [5])],
)
async def test_another_path_waits_for_a_human_who_is_shown_both(answer, text, calls):
    world = World()
    program, crash = changing(world, 5, 7)
    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        assert world.calls == [5]
        (question,) = kernel.approvals()
        assert question.prompt == (
            "An earlier attempt made pay; the turn was run again and asks for pay with other arguments. "
            "Approve: make the new call. Approve with an outcome: do not make it, it gave that. "
            "Deny: do not make it."
        )
        assert question.payload["status"] == "planned"
        assert (question.payload["effect"], question.payload["arguments"]) == ("pay", [7, {}])
        (recorded,) = question.payload["recorded"]
        assert (recorded["effect"], recorded["arguments"]) == ("pay", [5, {}])
        assert (recorded["status"], recorded["outcome"]) == ("returned", {"paid": 5})
        if answer == "deny":
            await kernel.deny("t", question.key, reason="once is enough")
        else:
            outcome = {"outcome": {"paid": 5}} if answer == "outcome" else {}
            await kernel.approve("t", question.key, **outcome)
        assert (await kernel.join("t")).text == text
    assert world.calls == calls


async def test_the_new_path_goes_on_once_a_human_has_agreed_to_it():
    world, crash = World(), anyio.Event()

    async def program(turn):
        amounts = [1, 2] if turn.attempt == 1 else [7, 8, 9]
        for amount in amounts:
            await turn.effect(paying(world), amount)
        if turn.attempt == 1:
            crash.set()
            await anyio.sleep_forever()
        return turn.complete("done")

    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        assert len(question.payload["recorded"]) == 2
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "done"
    assert world.calls == [1, 2, 7, 8, 9]


@pytest.mark.parametrize("approve", [True, False])
async def test_a_path_that_leaves_a_call_out_waits_for_a_human(approve):
    world = World()
    program, crash = changing(world, 5, 0)
    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[recorder := Recorder(saved)]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.prompt.startswith(
            "An earlier attempt made pay; the turn was run again and ends without that. "
        )
        still = recorder.saved()
    async with kernel_of({"p": program}, hooks=[Recorder(still)]) as kernel:  # nor does a crash lose it
        await kernel.idle()
        assert [item.key for item in kernel.approvals()] == [question.key]
        with pytest.raises(UsageError, match="an outcome is that of one call"):
            await kernel.approve("t", question.key, outcome=1)
        if approve:
            await kernel.approve("t", question.key)
            assert (await kernel.join("t")).text == "nothing"
        else:
            await kernel.deny("t", question.key, reason="it paid")
            result = await kernel.join("t")
            assert (result.termination, result.error) == ("error", "another path: it paid")
    assert world.calls == [5]


async def test_a_call_in_doubt_that_is_left_out_is_not_forgotten():
    world, crash = World(), anyio.Event()

    async def program(turn):
        if turn.attempt == 1:

            async def stuck():
                world.calls.append("begun")
                crash.set()
                await anyio.sleep_forever()

            await turn.effect(tool(effect="fail", name="stuck")(stuck))
        return turn.complete("went on")

    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload["recorded"][0]["status"] == "started"
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "went on"


def stuck_then(world, *amounts, policy="ask"):
    """A program whose first attempt is stuck in the payment of 1; each later one asks for an amount more.

    Args:
        world: the other side.
        amounts: what the later attempts pay, 0 for nothing.
        policy: of the payment that is stuck.
    """
    crash, later = anyio.Event(), list(amounts)

    async def pay(amount):
        world.calls.append(amount)
        if len(world.calls) == 1:
            crash.set()
            await anyio.sleep_forever()
        return {"paid": amount}

    async def program(turn):
        amount = 1 if turn.attempt == 1 else later[0]
        if turn.attempt > 1 and len(later) > 1:
            later.pop(0)
        if not amount:
            return turn.complete("nothing")
        try:
            await turn.effect(tool(name="pay", effect=policy)(pay), amount)
        except EffectDenied as error:
            return turn.complete(f"denied: {error.error}")
        return turn.complete(f"paid {amount}")

    return program, crash


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("amount", [2, 0])
async def test_an_answer_about_a_call_in_doubt_allows_no_other_one(approve, amount):
    world = World()
    program, crash = stuck_then(world, amount)
    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        (doubt,) = kernel.approvals()
        if approve:
            await kernel.approve("t", doubt.key)
        else:
            await kernel.deny("t", doubt.key, reason="not again")
        await kernel.idle()
        assert world.calls == [1]
        (path,) = kernel.approvals()
        word = "allowed again, and not made" if approve else "not to be made again"
        begun = (
            f"An earlier attempt began pay (it may have happened; it was {word}); the turn was run again and "
        )
        assert path.prompt.startswith(begun)
        (recorded,) = path.payload["recorded"]
        assert (recorded["arguments"], recorded["status"]) == ([1, {}], "planned" if approve else "denied")
        await kernel.approve("t", path.key)
        assert (await kernel.join("t")).text == (f"paid {amount}" if amount else "nothing")
    assert world.calls == ([1, amount] if amount else [1])


@pytest.mark.parametrize("approve", [True, False])
async def test_an_answer_about_another_path_allows_no_third_one(approve):
    world = World()
    program, crash = stuck_then(world, 2, 3, policy="fail")
    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        (second,) = kernel.approvals()
        await (kernel.approve if approve else kernel.deny)("t", second.key)
        await kernel.idle()
        assert world.calls == [1]
        assert second.prompt.startswith("An earlier attempt began pay (it may have happened); the turn ")
        (third,) = kernel.approvals()
        assert (third.payload["arguments"], third.payload["recorded"][0]["arguments"]) == ([3, {}], [2, {}])
        await kernel.approve("t", third.key)
        assert (await kernel.join("t")).text == "paid 3"
    assert world.calls == [1, 3]


async def test_a_question_about_the_end_of_a_turn_takes_no_outcome():
    world = World()
    program, crash = stuck_then(world, 0, policy="fail")
    saved = await crashed(program, crash)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        with pytest.raises(UsageError, match="an outcome is that of one call"):
            await kernel.approve("t", question.key, outcome={"paid": 1})
        assert kernel.approvals() == [question]


async def test_a_signal_that_sends_a_turn_another_way_does_not_make_it_forget_what_it_has_paid():
    world, paid = World(), anyio.Event()

    async def program(turn):
        if turn.signals:
            return turn.complete("stopped")
        await turn.effect(paying(world), 5)
        paid.set()
        return await anyio.sleep_forever()

    stop = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "stop")
    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await paid.wait()
        await kernel.signal(stop, "t")
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload["recorded"][0]["outcome"] == {"paid": 5}
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "stopped"


async def test_the_next_turn_after_one_that_was_taken_back_is_no_other_path():
    world = World()

    async def program(turn):
        if turn.number == 1:
            await turn.effect(paying(world), 5)
            return turn.rollback(TimedOut())
        return turn.complete(output=await turn.effect(paying(world), 7))

    assert (await run(program, hooks=[Recorder()])).output == {"paid": 7}
    assert world.calls == [5, 7]


async def test_what_a_call_had_done_before_it_raised_is_not_done_again_in_the_next_turn():
    world = World()

    async def program(turn):
        @tool(effect="idempotent")
        async def both():
            await turn.effect(paying(world), 1)
            await turn.effect(paying(world).options(key="b"), 1)
            await turn.effect(paying(world), 1)
            if turn.number == 1:
                raise ValueError("half done")

        try:
            await turn.effect(paying(world).options(key="a"), 1)
            await turn.effect(both)
            await turn.effect(paying(world), 2)
        except EffectError:
            return turn.rollback(TimedOut())
        return turn.complete("done")

    assert (await run(program, hooks=[Recorder()])).text == "done"
    assert world.calls == [1, 1, 1, 1, 2]


async def test_a_run_that_waits_for_a_word_on_another_path_is_sound():
    world, storage = World(), MemoryStorage()
    crash = anyio.Event()

    async def program(turn):
        if turn.attempt == 1:
            await turn.effect(paying(world), 5)
            crash.set()
            await anyio.sleep_forever()
        return turn.complete("nothing")

    async with kernel_of({"p": program}, hooks=[CheckpointHook(storage)]) as kernel:
        await kernel.submit("p", task_id="t")
        await crash.wait()
        await kernel.stop(grace=0)
    async with kernel_of({"p": program}, hooks=[CheckpointHook(storage)]) as kernel:
        await kernel.idle()
        assert len(kernel.approvals()) == 1
    report = await verify(storage, "run")
    assert report.ok, report.findings
