"""What calls cost is charged once, with the outcome: a rerun that is given the outcome charges nothing."""

import anyio
import msgspec
import pytest
from crash_kit import at_every_commit
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import (
    Charge,
    CheckpointHook,
    MemoryStorage,
    Message,
    Role,
    TimedOut,
    ToolCall,
    load,
    tool,
)
from kernelckpt.errors import EffectError


class Reply(msgspec.Struct, frozen=True):
    text: str
    tokens: int


def cost(reply):
    return Charge(reply.tokens, reply.tokens * 3)


def spent(kernel, task_id="t"):
    budget, totals = kernel.tasks.get(task_id).budget, kernel._core.state.totals
    assert (totals.total_tokens, totals.cost_micros) == (budget.total_tokens, budget.cost_micros)
    return budget.total_tokens, budget.cost_micros


def model_of(world):
    async def ask(tokens: int) -> Reply:
        world.append(tokens)
        return Reply("said", tokens)

    return tool(name="ask", effect="idempotent", charge=cost)(ask)


async def test_a_call_is_charged_what_it_says_it_has_cost():
    calls = []
    ask = model_of(calls)

    async def program(turn):
        await turn.effect(ask, 10)
        await turn.call("ask", tokens=5)
        return turn.complete()

    async with kernel_of({"p": program}, tools=[ask]) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).total_tokens_used == 15
        assert spent(kernel) == (15, 45)


async def test_a_tool_that_an_assistant_asks_for_is_charged_too():
    calls = []

    async def program(turn):
        if turn.messages and turn.messages[-1].role is Role.TOOL:
            return turn.complete()
        return turn.request(Message.assistant("", [ToolCall("c", "ask", {"tokens": 7})]))

    async with kernel_of({"p": program}, tools=[model_of(calls)]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
        assert spent(kernel) == (7, 21)


async def test_wherever_the_process_dies_what_was_charged_is_what_the_recorded_calls_have_cost():
    def settings_of(world):
        ask = model_of(world)

        async def program(turn):
            await turn.effect(ask, 10)
            await turn.effect(ask, 20)
            turn.say(f"turn {turn.number}")
            return turn.complete() if turn.number == 2 else None

        return {"programs": {"p": program}}

    async def drive(kernel):
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
        return spent(kernel)

    (charged, world), others, states = await at_every_commit(settings_of, drive)
    assert (charged, world) == ((60, 180), [10, 10, 20, 20])
    for end, _ in others:
        assert end == (60, 180)  # a call that is made again was not charged when it was made first
    assert len(states) >= len(world) * 2


async def test_the_outcome_and_the_charge_are_in_one_commit():
    recorder, ask = Recorder(), model_of([])

    async def program(turn):
        await turn.effect(ask, 10)
        return turn.complete()

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    charged = []
    for saved in recorder.history:
        records = {key[0]: msgspec.msgpack.decode(data) for key, data in saved.records.items()}
        if "effect" in records:
            ledgers = (records["task"]["budget"], records["kernel"])
            charged.append((records["effect"]["status"], *(item.get("total_tokens", 0) for item in ledgers)))
    assert charged == [("started", 0, 0), ("returned", 10, 10)]


async def test_an_undone_turn_leaves_its_outcomes_and_they_are_not_charged_again():
    ask = model_of([])

    async def program(turn):
        await turn.effect(ask, 10)
        return turn.rollback(TimedOut()) if turn.number == 1 else turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
        assert spent(kernel) == (10, 30)


async def test_a_call_that_raised_is_not_charged():
    def broken():
        raise ValueError("no")

    async def program(turn):
        with pytest.raises(EffectError, match="ValueError: no"):
            await turn.effect(tool(name="broken", charge=lambda _: Charge(1))(broken))
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).ok
        assert spent(kernel) == (0, 0)


@pytest.mark.parametrize(
    ("charge", "why"),
    [
        (lambda reply: 5, "charge: a int"),
        (lambda reply: Charge(-1), "tokens: -1"),
        (lambda reply: Charge(0, True), "cost_micros: a bool"),
        (lambda reply: Charge(2**63), "more do not fit"),
        (lambda reply: reply.nothing, "no attribute 'nothing'"),
    ],
)
async def test_a_call_whose_cost_nobody_can_tell_has_failed_and_says_so(charge, why):
    async def ask() -> Reply:
        return Reply("said", 1)

    async def program(turn):
        with pytest.raises(EffectError) as caught:
            await turn.effect(tool(name="ask", charge=charge)(ask))
        return turn.complete(caught.value.error)

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        text = (await kernel.join("t")).text
        assert text.startswith("charge: ")
        assert why in text
        assert spent(kernel) == (0, 0)


async def test_a_call_that_turns_out_to_have_happened_is_charged_once():
    recorder, begun = Recorder(), anyio.Event()

    async def ask(tokens: int) -> Reply:
        begun.set()
        await anyio.sleep_forever()

    async def look(tokens: int) -> Reply:
        return Reply("said", tokens)

    async def program(turn):
        await turn.effect(tool(ask).options(probe=look, charge=cost), 10)
        return turn.rollback(TimedOut()) if turn.number == 1 else turn.complete()

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        died = recorder.saved()
        await kernel.cancel("t")
    async with kernel_of({"p": program}, hooks=[Recorder(died)]) as kernel:
        await kernel.join("t")
        assert spent(kernel) == (10, 30)


async def test_a_call_that_ends_after_its_task_was_forgotten_is_charged_to_the_kernel():
    begun, go_on = anyio.Event(), anyio.Event()

    async def ask() -> Reply:
        begun.set()
        with anyio.CancelScope(shield=True):
            await go_on.wait()
        return Reply("said", 4)

    async def program(turn):
        await turn.effect(tool(name="ask", charge=cost)(ask))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.cancel("t")
        await kernel.forget("t")
        go_on.set()
        await settle()
        assert kernel._core.state.totals.total_tokens == 4


async def test_what_a_turn_notes_as_spent_is_durable_with_its_next_call():
    storage, seen = MemoryStorage(), []

    async def look() -> None:
        snapshot = await load(MemoryStorage(storage._state), "run")
        seen.append([(row.total_tokens, row.turns) for row in snapshot.tasks])

    async def program(turn):
        turn.spend(tokens=7)
        await turn.effect(look)
        return turn.complete()

    hook = CheckpointHook(storage, signals=(), stop_signals=())
    async with kernel_of({"p": program}, hooks=[hook]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    assert seen == [[(7, 0)]]
