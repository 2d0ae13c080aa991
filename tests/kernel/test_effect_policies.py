"""What is done about a call of which nobody knows whether it happened, by each policy."""

from dataclasses import dataclass

import anyio
import pytest
from effect_kit import Stuck, World, crashed, restarted, run
from governed_kit import ASK, rules
from kernel_kit import Recorder, kernel_of, kinds, settle

from kernelckpt import CheckpointHook, Hook, MemoryStorage, Message, NotDone, Redaction, ToolCall, tool
from kernelckpt.errors import EffectDenied, EffectError, InvalidValueError, UsageError


def charging(world, **options):
    """A tool whose first call never comes back, and a program that calls it once."""
    stuck = Stuck(world)
    charge = tool(name="charge", **options)(stuck)

    async def program(turn):
        try:
            return turn.complete(output=await turn.effect(charge, 7))
        except EffectDenied as error:
            return turn.complete("denied", output=[error.error, error.may_have_happened])

    return program, stuck.under_way


async def died_in_a_call(world, **options):
    program, under_way = charging(world, **options)
    return await crashed(program, under_way), program


async def test_a_probe_that_knows_the_call_gives_its_value_and_it_is_not_made_again():
    world = World()
    saved, program = await died_in_a_call(world, probe=world.was_paid)
    world.knows = {"paid": 7}
    assert (await restarted(program, saved)).output == {"paid": 7}
    assert (world.calls, world.probes) == ([7], [7])


async def test_a_probe_that_knows_nothing_of_the_call_has_it_made():
    world = World()
    saved, program = await died_in_a_call(world, effect="probe", probe=world.was_paid)
    assert (await restarted(program, saved)).output == {"paid": 7}
    assert (world.calls, world.probes) == ([7, 7], [7])


async def test_a_probe_is_not_asked_when_a_call_is_not_in_doubt():
    world = World()

    async def program(turn):
        return turn.complete(output=await turn.effect(tool(probe=world.was_paid)(world.pay), 7))

    assert (await run(program)).output == {"paid": 7}
    assert world.probes == []


async def test_when_a_probe_raises_a_human_is_asked_and_told_why():
    world = World()
    saved, program = await died_in_a_call(world, probe=world.was_paid)
    world.knows = OSError("no route")
    async with kernel_of({"p": program}, hooks=[recorder := Recorder(saved)]) as kernel:
        await kernel.idle()
        assert kernel.restored.in_doubt == ("t: charge",)
        (question,) = kernel.approvals()
        assert "may have happened" in question.prompt
        assert question.payload["reason"].endswith("its probe raised OSError: no route")
        still = recorder.saved()
    async with kernel_of({"p": program}, hooks=[Recorder(still)]) as kernel:  # and again after a crash
        await kernel.idle()
        assert [item.key for item in kernel.approvals()] == [question.key]
        assert kinds(kernel)["t"] == ("suspended", "approval")
        await kernel.approve("t", question.key, outcome={"paid": 8})
        assert (await kernel.join("t")).output == {"paid": 8}
    assert world.calls == [7]


@pytest.mark.parametrize("strange", [object(), {1, 2}])
async def test_a_probe_whose_value_cannot_be_kept_knows_nothing_for_certain(strange):
    world = World()
    saved, program = await died_in_a_call(world, probe=world.was_paid)
    world.knows = strange
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        assert "cannot be kept" in kernel.approvals()[0].payload["reason"]
    assert world.calls == [7]


async def test_a_call_that_is_to_fail_raises_and_says_that_it_may_have_happened():
    world = World()
    saved, program = await died_in_a_call(world, effect="fail")
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        assert kernel.restored.in_doubt == ("t: charge",)
        expected = ["it was begun before and may have happened", True]
        assert (await kernel.join("t")).output == expected
    assert world.calls == [7]


async def test_a_denied_call_says_whether_it_may_have_happened():
    world = World()
    saved, program = await died_in_a_call(world)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        await kernel.deny("t", reason="no")
        assert (await kernel.join("t")).output == ["no", True]
    program, _ = charging(world)
    async with kernel_of({"p": program}, governance=rules(charge=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.deny("t", reason="no")
        assert (await kernel.join("t")).output == ["no", False]
    assert world.calls == [7]


@dataclass
class Receipt:
    number: int


async def test_a_human_gives_the_outcome_of_a_call_that_happened():
    world, under_way = World(), anyio.Event()

    async def charge(amount) -> Receipt:
        world.calls.append(amount)
        under_way.set()
        await anyio.sleep_forever()

    async def program(turn):
        receipt = await turn.effect(charge, 7)
        return turn.complete(f"receipt {receipt.number}")

    saved = await crashed(program, under_way)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key, by="ada", outcome={"number": 5})
        assert (await kernel.join("t")).text == "receipt 5"
    assert world.calls == [7]


async def test_an_outcome_that_the_tool_could_not_have_returned_is_refused_and_the_question_stays():
    under_way = anyio.Event()

    @tool
    async def charge(amount: int) -> Receipt:
        under_way.set()
        await anyio.sleep_forever()

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "charge", {"amount": 7})]))
        return turn.complete(turn.messages[-1].text)

    saved = await crashed(program, under_way, tools=[charge])
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], tools=[charge]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        for wrong in ("paid", {"number": "five"}, object()):
            with pytest.raises(InvalidValueError, match="the value of charge"):
                await kernel.approve("t", question.key, outcome=wrong)
        assert [item.key for item in kernel.approvals()] == [question.key]
        await kernel.approve("t", question.key, outcome=Receipt(5))
        assert (await kernel.join("t")).text == '{"number":5}'


@pytest.mark.parametrize(
    ("kind", "wrong", "right"), [(str, 5, "five"), (list[int], ["a"], [5]), (int | None, "5", None)]
)
async def test_an_outcome_that_a_human_gives_is_of_the_plain_type_that_the_tool_declares(kind, wrong, right):
    under_way = anyio.Event()

    async def charge():
        under_way.set()
        await anyio.sleep_forever()

    charge.__annotations__["return"] = kind
    charge = tool(name="charge")(charge)

    async def program(turn):
        return turn.complete(output=await turn.call(charge))

    saved = await crashed(program, under_way, tools=[charge])
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], tools=[charge]) as kernel:
        (question,) = kernel.approvals()
        with pytest.raises(InvalidValueError, match="the value of charge"):
            await kernel.approve("t", question.key, outcome=wrong)
        assert kernel.approvals() == [question]
        await kernel.approve("t", question.key, outcome=right)
        assert (await kernel.join("t")).output == right


async def test_an_outcome_is_given_for_one_call_only():
    async def program(turn):
        if not turn.approvals:
            return turn.ask_approval("go", "may I?")
        return turn.complete("went on")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        with pytest.raises(UsageError, match="an outcome is that of one call"):
            await kernel.approve("t", "go", outcome=1)
        await kernel.approve("t", "go")
        assert (await kernel.join("t")).text == "went on"


@pytest.mark.parametrize(("policy", "calls"), [("idempotent", [7, 7]), ("probe", [7, 7]), ("fail", [7])])
async def test_a_requested_call_in_doubt_follows_its_policy_too(policy, calls):
    world = World()
    stuck = Stuck(world)
    probe = world.was_paid if policy == "probe" else None

    @tool(effect=policy, probe=probe)
    async def charge(amount: int) -> dict:
        return await stuck(amount)

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "charge", {"amount": 7})]))
        return turn.complete(turn.messages[-1].text)

    saved = await crashed(program, stuck.under_way, tools=[charge])
    shown = '{"paid":7}' if policy != "fail" else "it was begun before and may have happened"
    assert (await restarted(program, saved, tools=[charge])).text == shown
    assert world.calls == calls


async def test_a_requested_call_whose_probe_raises_waits_for_a_human():
    world = World()
    stuck = Stuck(world)
    world.knows = OSError("no route")
    charge = tool(name="charge", probe=world.was_paid)(stuck)

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "charge", {"amount": 7})]))
        return turn.complete(turn.messages[-1].text)

    saved = await crashed(program, stuck.under_way, tools=[charge])
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], tools=[charge]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        assert "no route" in question.payload["reason"]
        assert world.calls == [7]
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == '{"paid":7}'
    assert world.calls == [7, 7]


async def test_what_was_idempotent_is_not_repeated_once_it_is_not_any_more():
    world = World()
    saved, _ = await died_in_a_call(world, effect="idempotent")
    program, _ = charging(world)
    async with kernel_of({"p": program}, hooks=[recorder := Recorder(saved)]) as kernel:
        await kernel.idle()
        assert len(kernel.approvals()) == 1
        still = recorder.saved()
    policy = rules(other=ASK)
    async with kernel_of({"p": program}, hooks=[Recorder(still)], governance=policy) as kernel:
        await kernel.idle()
        assert len(kernel.approvals()) == 1
    assert world.calls == [7]


async def test_a_task_with_a_call_in_doubt_does_not_run_before_somebody_has_decided():
    world, attempts = World(), []
    saved, program = await died_in_a_call(world)

    async def counting(turn):
        attempts.append(turn.attempt)
        return await program(turn)

    async with kernel_of({"p": counting}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        assert attempts == []
        await kernel.approve("t", kernel.approvals()[0].key)
        assert (await kernel.join("t")).ok
    assert attempts == [2]


# the key that the other side knows a call by


async def test_a_repeated_call_is_given_the_key_of_the_first_and_another_call_another():
    world, under_way = World(), anyio.Event()

    @tool(effect="idempotent")
    async def charge(amount, idempotency_key):
        world.keys.append(idempotency_key)
        if len(world.keys) == 1:
            under_way.set()
            await anyio.sleep_forever()
        return amount

    async def program(turn):
        await turn.effect(charge, 7)
        await turn.effect(charge, 7)
        return turn.complete() if turn.number == 2 else turn.say("again")

    saved = await crashed(program, under_way)
    assert (await restarted(program, saved)).ok
    first, again, *others = world.keys
    assert again == first
    assert len({first, *others}) == 4


@pytest.mark.parametrize("redaction", [None, Redaction(patterns={"hex": "[0-9a-f]{8}"})])
async def test_the_key_of_a_repeated_call_is_the_same_whatever_is_taken_for_a_secret(redaction):
    world, under_way = World(), anyio.Event()

    @tool(effect="idempotent")
    async def charge(amount, idempotency_key):
        world.keys.append(idempotency_key)
        if len(world.keys) == 1:
            under_way.set()
            await anyio.sleep_forever()
        return amount

    async def program(turn):
        return turn.complete(output=await turn.effect(charge, 7))

    saved = await crashed(program, under_way, redaction=redaction)
    assert (await restarted(program, saved, redaction=redaction)).output == 7
    assert len(world.keys) == 2
    assert len(set(world.keys)) == 1


async def test_the_key_that_was_chosen_is_the_one_that_is_given():
    world = World()

    def charge(amount, *, idempotency_key=None):
        world.keys.append(idempotency_key)

    async def program(turn):
        await turn.effect(tool(charge).options(key="order-17"), 7)
        with pytest.raises(UsageError, match="is given by the ledger"):
            await turn.effect(charge, 7, idempotency_key="mine")
        return turn.complete()

    assert (await run(program)).ok
    assert world.keys == ["order-17"]


# nothing that must not be repeated is done where nothing is kept


class Forgetful(Hook):
    """Brings a state back, and cannot say when it is durable."""

    restores = True


async def test_calls_that_must_not_be_repeated_are_refused_where_nothing_keeps_them():
    world = World()

    async def program(turn):
        with pytest.raises(UsageError, match="no hook of this scheduler keeps") as caught:
            await turn.effect(world.pay, 1)
        assert "CheckpointHook" in caught.value.hint
        assert await turn.effect(tool(effect="idempotent")(world.pay), 2)
        return turn.complete("went on")

    assert (await run(program, hooks=[Forgetful()])).text == "went on"
    assert world.calls == [2]


async def test_a_requested_call_that_must_not_be_repeated_is_answered_with_the_refusal():
    world = World()

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "pay", {"amount": 7})]))
        return turn.complete(turn.messages[-1].text)

    pay = tool(name="pay")(world.pay)
    assert "no hook of this scheduler keeps" in (await run(program, hooks=[Forgetful()], tools=[pay])).text
    assert world.calls == []


class Slow(MemoryStorage):
    """A storage whose appends wait until they are let go."""

    def __init__(self):
        super().__init__()
        self.go = anyio.Event()
        self.waits = anyio.Event()

    async def append(self, *args, **kwargs):
        self.waits.set()
        await self.go.wait()
        return await super().append(*args, **kwargs)


@pytest.mark.parametrize(("policy", "waits"), [("ask", True), ("idempotent", False)])
async def test_a_hook_that_is_not_durable_still_keeps_what_must_not_be_repeated(policy, waits):
    world, storage = World(), Slow()
    hook = CheckpointHook(storage, durable=False, every=None, waits=False)

    async def program(turn):
        await turn.effect(tool(effect=policy)(world.pay), 7)
        return turn.complete("paid")

    async with kernel_of({"p": program}, hooks=[hook]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        waited, called = storage.waits.is_set(), list(world.calls)
        storage.go.set()
        assert (waited, called) == ((True, []) if waits else (False, [7]))
        assert (await kernel.join("t")).text == "paid"
    assert world.calls == [7]


async def test_an_effect_error_is_no_denial():
    def broken():
        raise ValueError("no")

    async def program(turn):
        with pytest.raises(EffectError) as caught:
            await turn.effect(broken)
        assert not isinstance(caught.value, EffectDenied)
        return turn.complete("went on")

    assert (await run(program)).text == "went on"


def test_policies_that_do_not_go_together_are_refused():
    def charge():
        """Charge."""

    with pytest.raises(UsageError, match="charge has no probe"):
        tool(effect="probe")(charge)
    with pytest.raises(UsageError, match="charge is ask and has a probe"):
        tool(effect="ask", probe=charge)(charge)
    with pytest.raises(UsageError, match="no effect policy 'never'"):
        tool(effect="never")
    assert tool(charge).options(probe=charge).effect == "probe"
    assert isinstance(NotDone(), NotDone)
