"""Budgets: limits are inclusive, what is spent is spent, an extension goes on where the task stood."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_kit import count, kernel_of, kinds, once

from kernelckpt import SchedulerBudget
from kernelckpt.errors import InvalidValueError, UsageError
from kernelckpt.model.budget import BudgetLedger
from kernelckpt.testing import ManualClock


async def spend(turn):
    turn.say(str(turn.number))
    turn.spend(tokens=10)


@pytest.mark.parametrize(
    ("budget", "termination", "turns"),
    [
        (SchedulerBudget(max_turns=0), "max_turns", 0),
        (SchedulerBudget(max_turns=1), "max_turns", 1),
        (SchedulerBudget(max_turns=3), "max_turns", 3),
        (SchedulerBudget(max_total_tokens=0), "token_budget", 0),
        (SchedulerBudget(max_total_tokens=1), "token_budget", 1),
        (SchedulerBudget(max_total_tokens=10), "token_budget", 1),
        (SchedulerBudget(max_total_tokens=11), "token_budget", 2),
    ],
)
async def test_a_task_is_ended_by_the_first_limit_it_reaches(budget, termination, turns):
    async with kernel_of({"spend": spend}) as kernel:
        await kernel.submit("spend", task_id="s", budget=budget)
        result = await kernel.join("s")
        assert (result.termination, result.turns_used) == (termination, turns)
        assert result.error.startswith("the budget's ")


NUMBERS = st.integers(0, 4)
OPTIONAL = st.none() | NUMBERS
LIMITS = st.builds(
    SchedulerBudget,
    max_turns=NUMBERS,
    max_total_tokens=NUMBERS,
    max_wall_ms=OPTIONAL,
    max_cost_micros=OPTIONAL,
    deadline_ms=OPTIONAL,
    deadline_after_ms=OPTIONAL,
)
LEDGERS = st.builds(
    BudgetLedger,
    LIMITS,
    turns=NUMBERS,
    total_tokens=NUMBERS,
    started_at_ms=OPTIONAL,
    cost_micros=NUMBERS,
    began_at_ms=OPTIONAL,
    children_tokens=NUMBERS,
    children_cost_micros=NUMBERS,
)


@given(LEDGERS, st.integers(0, 99))
def test_a_ledger_that_is_ample_has_reached_no_limit_at_any_time(ledger, now):
    only_counts = ledger.limits == SchedulerBudget(
        max_turns=ledger.limits.max_turns, max_total_tokens=ledger.limits.max_total_tokens
    )
    assert ledger.is_ample == (only_counts and ledger.exceeded(now, now) is None)


async def test_the_schedulers_budget_is_the_default_of_roots_and_children():
    async def boss(turn):
        turn.spawn("spend", task_id="child")
        turn.spawn("spend", task_id="other", budget=SchedulerBudget(max_turns=4))
        return turn.complete()

    async with kernel_of({"boss": boss, "spend": spend}, budget=SchedulerBudget(max_turns=2)) as kernel:
        await kernel.submit("boss", task_id="b")
        assert (await kernel.join("b")).ok
        assert (await kernel.join("child")).turns_used == 2
        assert (await kernel.join("other")).turns_used == 4


async def test_the_last_turn_of_a_budget_may_complete():
    async with kernel_of({"count": count}) as kernel:
        await kernel.submit("count", task_id="c", budget=SchedulerBudget(max_turns=5))
        assert (await kernel.join("c")).ok


async def test_an_extension_goes_on_where_the_task_stood():
    async with kernel_of({"count": count}) as kernel:
        await kernel.submit("count", task_id="c", budget=SchedulerBudget(max_turns=3))
        assert (await kernel.join("c")).termination == "max_turns"
        await kernel.extend("c", SchedulerBudget(max_turns=4))
        assert (await kernel.join("c")).termination == "max_turns"
        await kernel.extend("c", SchedulerBudget(max_turns=10))
        result = await kernel.join("c")
        assert (result.ok, result.turns_used) == (True, 5)


async def test_an_extension_keeps_what_the_last_join_gave():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("once", task_id="c"))
        return turn.complete(output=list(turn.results))

    async with kernel_of({"boss": boss, "once": once}) as kernel:
        await kernel.submit("boss", task_id="b", budget=SchedulerBudget(max_turns=1))
        assert (await kernel.join("b")).termination == "max_turns"
        await kernel.extend("b", SchedulerBudget(max_turns=2))
        assert (await kernel.join("b")).output == ["c"]


async def test_an_extended_child_is_live_again_though_its_parent_went_on():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("count", task_id="c", budget=SchedulerBudget(max_turns=1)))
        return turn.complete(str(turn.results["c"].termination))

    async with kernel_of({"boss": boss, "count": count}) as kernel:
        await kernel.submit("boss", task_id="b")
        assert (await kernel.join("b")).text == "max_turns"
        await kernel.extend("c", SchedulerBudget(max_turns=9))
        assert kernel.tasks.get("c").proc.result is None
        assert (await kernel.join("c")).ok


async def test_limits_of_a_live_task_can_be_changed():
    async def wait(turn):
        return turn.wait_external("door")

    async with kernel_of({"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="w", budget=SchedulerBudget(max_turns=1))
        await kernel.idle()
        await kernel.extend("w", SchedulerBudget(max_turns=2))
        await kernel.resume("w")
        await kernel.idle()
        assert kinds(kernel)["w"] == ("suspended", "external")
        await kernel.resume("w")
        assert (await kernel.join("w")).termination == "max_turns"


async def test_what_did_not_end_by_its_budget_is_not_extended():
    async with kernel_of({"once": once}) as kernel:
        await kernel.submit("once", task_id="o")
        await kernel.join("o")
        with pytest.raises(UsageError, match="ended by completed, not by its budget"):
            await kernel.extend("o", SchedulerBudget())
        for bad in (None, 5, SchedulerBudget(max_turns=-1), SchedulerBudget(max_turns="9")):
            with pytest.raises(InvalidValueError, match="budget"):
                await kernel.extend("o", bad)
        assert kernel.tasks.get("o").result.ok


def test_a_bad_default_budget_is_refused():
    for bad in (None, 5, SchedulerBudget(max_turns=-1)):
        with pytest.raises(InvalidValueError, match="budget"):
            kernel_of(budget=bad)


async def test_totals_of_the_kernel_add_up():
    clock = ManualClock()

    async def program(turn):
        turn.spend(tokens=3, cost_micros=2)
        turn.say("x")
        await clock.sleep(1)

    async with kernel_of({"p": program}, clock=clock) as kernel:
        for number in range(4):
            await kernel.submit("p", task_id=f"t{number}", budget=SchedulerBudget(max_turns=5))
        await clock.advance(10)
        with anyio.fail_after(5):
            await kernel.join()
        totals = kernel.snapshot()
        assert (totals.turn, totals.total_tokens) == (20, 60)
        rows = list(kernel.tasks)
        assert sum(row.budget.total_tokens for row in rows) == 60
        assert sum(row.budget.cost_micros for row in rows) == 40
