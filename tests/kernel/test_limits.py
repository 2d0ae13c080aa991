"""Limits beside turns and tokens: money, deadlines in wall time, downtime, what a whole subtree spends."""

import anyio
import msgspec
import pytest
from kernel_kit import Gate, Recorder, kernel_of, kinds, settle

from kernelckpt import Charge, SchedulerBudget, tool
from kernelckpt.testing import ManualClock


async def pay(turn):
    turn.say(str(turn.number))
    turn.spend(tokens=3, cost_micros=10)


async def nap(turn):
    turn.say(str(turn.number))
    return turn.sleep(10)


async def wait(turn):
    return turn.wait_external("door")


async def ask(turn):
    return turn.ask_approval("go", "may I?")


# money


@pytest.mark.parametrize(("limit", "turns"), [(0, 0), (1, 1), (10, 1), (11, 2), (25, 3)])
async def test_a_limit_of_money_ends_a_task_as_one_of_tokens_does(limit, turns):
    async with kernel_of({"pay": pay}) as kernel:
        await kernel.submit("pay", task_id="p", budget=SchedulerBudget(max_cost_micros=limit))
        result = await kernel.join("p")
    assert (result.termination, result.turns_used) == ("token_budget", turns)
    assert result.error == "the budget's cost_budget was reached"


async def test_a_task_that_has_no_money_left_goes_on_when_it_is_given_more():
    async with kernel_of({"pay": pay}) as kernel:
        await kernel.submit("pay", task_id="p", budget=SchedulerBudget(max_cost_micros=10))
        assert (await kernel.join("p")).turns_used == 1
        await kernel.extend("p", SchedulerBudget(max_cost_micros=30))
        assert (await kernel.join("p")).turns_used == 3


# deadlines


@pytest.mark.parametrize("program", ["wait", "ask", "nap"])
async def test_a_deadline_ends_a_task_that_waits_when_its_time_has_come_and_not_before(program):
    clock = ManualClock()
    budget = SchedulerBudget(deadline_ms=clock.wall_ms() + 25_000)
    async with kernel_of({"wait": wait, "ask": ask, "nap": nap}, clock=clock) as kernel:
        await settle()  # what waits for timers finds none
        await kernel.submit(program, task_id="t", budget=budget)
        await clock.advance(24.999)
        assert not kernel.tasks.get("t").state.is_terminal()
        await clock.advance(0.001)
        assert kernel.tasks.get("t").state.is_terminal()
        result = await kernel.join("t")
        assert (result.termination, result.error) == ("timeout", "the budget's deadline was reached")
        assert kernel.approvals() == []
        await kernel.idle()


async def test_a_deadline_after_the_first_turn_counts_from_there_and_not_from_the_submission():
    clock, gate = ManualClock(), Gate(held=False, ready_held=True)
    async with kernel_of({"wait": wait}, clock=clock, hooks=[gate]) as kernel:
        await kernel.submit("wait", task_id="t", budget=SchedulerBudget(deadline_after_ms=5_000))
        await clock.advance(100)
        gate.open()
        await settle()
        await clock.advance(4)
        assert kinds(kernel)["t"] == ("suspended", "external")
        await clock.advance(1)
        assert (await kernel.join("t")).termination == "timeout"


async def test_the_earlier_of_two_deadlines_counts():
    clock = ManualClock()
    budget = SchedulerBudget(deadline_ms=clock.wall_ms() + 9_000, deadline_after_ms=5_000)
    async with kernel_of({"wait": wait}, clock=clock) as kernel:
        await kernel.submit("wait", task_id="a", budget=budget)
        await settle()
        await clock.advance(5)
        assert kernel.tasks.get("a").state.is_terminal()


async def test_a_task_that_waits_for_a_place_is_ended_by_its_deadline_too():
    clock = ManualClock()

    async def busy(turn):
        await clock.sleep(100)
        return turn.complete()

    budget = SchedulerBudget(deadline_ms=clock.wall_ms() + 5_000)
    async with kernel_of({"busy": busy}, clock=clock, max_concurrency=1) as kernel:
        await kernel.submit("busy", task_id="first")
        await kernel.submit("busy", task_id="second", budget=budget)
        await clock.advance(6)
        assert (await kernel.join("second")).turns_used == 0
        await clock.advance(100)
        assert (await kernel.join("first")).ok


async def test_a_deadline_does_not_cut_off_a_turn_and_no_other_is_begun():
    clock = ManualClock()

    async def slow(turn):
        turn.say("slow")
        await clock.sleep(10)

    async with kernel_of({"slow": slow}, clock=clock) as kernel:
        await kernel.submit("slow", task_id="s", budget=SchedulerBudget(deadline_after_ms=15_000))
        await clock.advance(16)
        assert not kernel.tasks.get("s").state.is_terminal()
        await clock.advance(4)
        result = await kernel.join("s")
        assert (result.termination, result.turns_used) == ("timeout", 2)


async def test_a_parent_and_its_child_that_are_late_at_the_same_time_are_both_ended():
    clock = ManualClock()
    budget = SchedulerBudget(deadline_ms=clock.wall_ms() + 5_000)

    async def boss(turn):
        return turn.join(turn.spawn("wait", task_id="c", budget=budget))

    async with kernel_of({"boss": boss, "wait": wait}, clock=clock) as kernel:
        await kernel.submit("boss", task_id="b", budget=budget)
        await clock.advance(6)
        assert {row.id: row.state.label() for row in kernel.tasks} == {"b": "done", "c": "done"}
        assert [row.budget.turns for row in kernel.tasks] == [1, 1]


async def test_a_deadline_that_passed_while_nothing_ran_ends_the_task_at_the_start_before_any_turn():
    clock, recorder = ManualClock(), Recorder()
    budget = SchedulerBudget(deadline_after_ms=15_000)
    async with kernel_of({"nap": nap}, clock=clock, hooks=[recorder]) as kernel:
        await kernel.submit("nap", task_id="n", budget=budget)
        await settle()
    clock.jump(60_000)
    async with kernel_of({"nap": nap}, clock=clock, hooks=[Recorder(recorder.saved())]) as kernel:
        result = await kernel.join("n")
    assert (result.termination, result.turns_used) == ("timeout", 1)


async def test_a_deadline_goes_by_the_wall_clock_when_that_is_set_forward_or_back():
    clock = ManualClock()
    budget = SchedulerBudget(deadline_ms=clock.wall_ms() + 100_000)
    async with kernel_of({"wait": wait}, clock=clock) as kernel:
        await kernel.submit("wait", task_id="t", budget=budget)
        await settle()
        clock.jump(-50_000)
        await clock.advance(149)
        assert not kernel.tasks.get("t").state.is_terminal()
        clock.jump(2_000)
        await clock.advance(60)
        assert (await kernel.join("t")).termination == "timeout"


async def test_a_deadline_given_to_a_task_that_waits_already_counts_from_then():
    clock = ManualClock()
    async with kernel_of({"wait": wait}, clock=clock) as kernel:
        await kernel.submit("wait", task_id="t")
        await clock.advance(50)
        await kernel.extend("t", SchedulerBudget(deadline_after_ms=5_000))
        await clock.advance(4)
        assert not kernel.tasks.get("t").state.is_terminal()
        await clock.advance(1)
        assert (await kernel.join("t")).termination == "timeout"
        await kernel.extend("t", SchedulerBudget())
        await settle()
        assert kinds(kernel)["t"] == ("suspended", "external")


async def test_the_error_of_a_task_that_was_late_names_the_calls_in_doubt():
    clock, begun, died = ManualClock(), anyio.Event(), None
    recorder = Recorder()

    async def order():
        begun.set()
        await anyio.sleep_forever()

    async def program(turn):
        await turn.effect(order)
        return turn.complete()

    budget = SchedulerBudget(deadline_ms=clock.wall_ms() + 5_000)
    async with kernel_of({"p": program}, clock=clock, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", budget=budget)
        await begun.wait()
        died = recorder.saved()
        await kernel.cancel("t")
    async with kernel_of({"p": program}, clock=clock, hooks=[Recorder(died)]) as kernel:
        await clock.advance(6)
        result = await kernel.join("t")
    assert (result.termination, result.error.split("; ")[1]) == ("timeout", "may have happened: order")


# working time and downtime


async def slow(turn):
    turn.say("slow")
    await turn.deps.sleep(4)


@pytest.mark.parametrize(("charge_downtime", "turns"), [(False, 3), (True, 1)])
async def test_downtime_is_charged_only_if_the_budget_says_so(charge_downtime, turns):
    clock, recorder = ManualClock(), Recorder()
    budget = SchedulerBudget(max_wall_ms=10_000, charge_downtime=charge_downtime)
    async with kernel_of({"slow": slow}, clock=clock, deps=clock, hooks=[recorder]) as kernel:
        await kernel.submit("slow", task_id="s", budget=budget)
        await clock.advance(5)
        died = recorder.saved()
        await kernel.stop(0)
    for down in (3_000, 3_000):  # twice: what was down before the first restore stays charged
        restored = Recorder(died, downtime_ms=down)
        async with kernel_of({"slow": slow}, clock=clock, deps=clock, hooks=[restored]) as kernel:
            died = restored.saved()
            await kernel.stop(0)
    last = Recorder(died, downtime_ms=0)
    async with kernel_of({"slow": slow}, clock=clock, deps=clock, hooks=[last]) as kernel:
        await clock.advance(60)
        result = await kernel.join("s")
    assert (result.termination, result.turns_used) == ("timeout", turns)


async def test_downtime_before_a_task_began_is_not_charged_to_it():
    clock = ManualClock()
    first = Recorder()
    async with kernel_of(hooks=[first], clock=clock):
        pass
    budget = SchedulerBudget(max_wall_ms=10_000, charge_downtime=True)
    again = Recorder(first.saved(), downtime_ms=1_000_000)
    async with kernel_of({"slow": slow}, clock=clock, deps=clock, hooks=[again]) as kernel:
        await kernel.submit("slow", task_id="s", budget=budget)
        await clock.advance(60)
        assert (await kernel.join("s")).turns_used == 3


async def test_the_policy_of_a_task_that_has_begun_can_be_changed_and_counts_from_then():
    clock = ManualClock()
    limit = SchedulerBudget(max_wall_ms=10_000)
    charging = SchedulerBudget(max_wall_ms=10_000, charge_downtime=True)
    first = Recorder()
    async with kernel_of({"slow": slow}, clock=clock, deps=clock, hooks=[first]) as kernel:
        await kernel.submit("slow", task_id="s", budget=limit)
        await clock.advance(1)
        await kernel.stop(0)
    second = Recorder(first.saved(), downtime_ms=1_000_000)
    async with kernel_of({"slow": slow}, clock=clock, deps=clock, hooks=[second]) as kernel:
        await kernel.extend("s", charging)
        await clock.advance(60)
        assert (await kernel.join("s")).turns_used == 3


async def test_a_clock_that_jumps_changes_no_working_time():
    clock = ManualClock()
    async with kernel_of({"slow": slow}, clock=clock, deps=clock) as kernel:
        await kernel.submit("slow", task_id="s", budget=SchedulerBudget(max_wall_ms=10_000))
        await clock.advance(5)
        clock.jump(1_000_000_000)
        await clock.advance(2)
        clock.jump(-2_000_000_000)
        await clock.advance(60)
        assert (await kernel.join("s")).turns_used == 3


# what a subtree spends


def tree(depth):
    """A program that spends, spawns one of its kind below it down to a depth, and joins it."""

    async def node(turn):
        if turn.number == 1:
            turn.spend(tokens=turn.input["own"], cost_micros=2 * turn.input["own"])
            if turn.input["depth"]:
                below = {**turn.input, "depth": turn.input["depth"] - 1}
                return turn.join(turn.spawn("node", task_id=f"n{below['depth']}", input=below))
        return turn.complete()

    return {"node": node}, {"own": 5, "depth": depth}


async def test_the_ledger_of_a_parent_that_includes_its_children_counts_all_below_it():
    programs, given = tree(3)
    async with kernel_of(programs) as kernel:
        await kernel.submit("node", task_id="top", input=given, budget=SchedulerBudget(include_children=True))
        await kernel.join("top")
        ledger = kernel.tasks.get("top").budget
        assert (ledger.total_tokens, ledger.children_tokens, ledger.children_cost_micros) == (5, 15, 30)
        assert kernel.tasks.get("n2").budget.children_tokens == 0  # its limits do not include any
        await kernel.forget("n2")
        assert kernel.tasks.get("top").budget.children_tokens == 15


async def test_the_sums_add_up_in_every_commit():
    recorder, (programs, given) = Recorder(), tree(3)
    async with kernel_of(programs, hooks=[recorder]) as kernel:
        await kernel.submit("node", task_id="top", input=given, budget=SchedulerBudget(include_children=True))
        await kernel.join("top")
    sums = []
    for saved in recorder.history:
        records = {
            key: msgspec.msgpack.decode(data) for key, data in saved.records.items() if key[0] != "input"
        }
        ledger = records.get(("task", "top", 0), {}).get("budget", {})
        total = records.get(("kernel", "", 0), {}).get("total_tokens", 0)
        sums.append((total, ledger.get("total_tokens", 0) + ledger.get("children_tokens", 0)))
    assert sums[-1] == (20, 20)
    assert [total for total, _ in sums] == [counted for _, counted in sums]


@pytest.mark.parametrize(("flag", "spent"), [(True, 30), (False, 60)])
async def test_children_end_with_the_limit_of_whoever_includes_them(flag, spent):
    async def child(turn):
        turn.say("on")
        turn.spend(tokens=10)
        return turn.complete() if turn.number == 6 else None

    async def boss(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("child", task_id="c"))
        return turn.complete()

    async with kernel_of({"boss": boss, "child": child}) as kernel:
        limits = SchedulerBudget(max_total_tokens=30, include_children=flag)
        await kernel.submit("boss", task_id="b", budget=limits)
        result, below = await kernel.join("b"), await kernel.join("c")
        assert below.total_tokens_used == spent
        assert result.ok is not flag
        if flag:
            assert below.error == "the budget's token_budget of task 'b' was reached"
            assert result.error == "the budget's token_budget was reached"


async def spender(turn):
    turn.say("on")
    turn.spend(tokens=10)
    return turn.wait_external("more")


async def keeper(turn):
    if turn.number == 1:
        turn.spawn("spender", task_id="c")
    return turn.wait_external("word")


async def test_what_was_overspent_is_known_after_a_restore_and_an_extension_lifts_it():
    programs = {"spender": spender, "keeper": keeper}
    recorder = Recorder()
    limits = SchedulerBudget(max_total_tokens=10, include_children=True)
    async with kernel_of(programs, hooks=[recorder]) as kernel:
        await kernel.submit("keeper", task_id="k", budget=limits)
        await kernel.idle()
    saved = recorder.saved()
    async with kernel_of(programs, hooks=[Recorder(saved)]) as kernel:
        await kernel.resume("c")
        await kernel.idle()
        assert kernel.tasks.get("c").state.is_terminal()
        assert (await kernel.join("c")).error == "the budget's token_budget of task 'k' was reached"
    async with kernel_of(programs, hooks=[Recorder(saved)]) as kernel:
        await kernel.extend("k", SchedulerBudget(max_total_tokens=20, include_children=True))
        await kernel.resume("c")
        await kernel.idle()
        assert kernel.tasks.get("c").budget.turns == 2
        assert kernel.tasks.get("k").budget.children_tokens == 20


async def test_a_limit_that_is_lowered_holds_for_what_is_below_too():
    async with kernel_of({"spender": spender, "keeper": keeper}) as kernel:
        await kernel.submit("keeper", task_id="k", budget=SchedulerBudget(include_children=True))
        await kernel.idle()
        await kernel.extend("k", SchedulerBudget(max_total_tokens=10, include_children=True))
        await kernel.resume("c")
        await kernel.idle()
        assert kernel.tasks.get("c").state.label() == "done"
        assert kernel.tasks.get("c").budget.turns == 1


async def test_children_included_later_count_with_what_they_have_spent_so_far():
    async with kernel_of({"spender": spender, "keeper": keeper}) as kernel:
        await kernel.submit("keeper", task_id="k")
        await kernel.idle()
        await kernel.extend("k", SchedulerBudget(include_children=True))
        await kernel.resume("c")
        await kernel.idle()
        assert kernel.tasks.get("k").budget.children_tokens == 20


async def test_a_call_that_ends_after_its_task_was_forgotten_counts_for_its_parent():
    begun, go_on = anyio.Event(), anyio.Event()

    async def model() -> int:
        begun.set()
        with anyio.CancelScope(shield=True):
            await go_on.wait()
        return 4

    async def child(turn):
        await turn.effect(tool(name="model", charge=Charge)(model))

    async def boss(turn):
        if turn.number == 1:
            turn.spawn("child", task_id="c")
        return turn.wait_external("word")

    async with kernel_of({"boss": boss, "child": child}) as kernel:
        await kernel.submit("boss", task_id="b", budget=SchedulerBudget(include_children=True))
        await begun.wait()
        await kernel.cancel("c")
        await kernel.forget("c")
        go_on.set()
        await settle()
        assert kernel.tasks.get("b").budget.children_tokens == 4
