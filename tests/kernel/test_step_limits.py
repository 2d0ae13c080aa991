"""What ends a straight-line function early, and what is kept: budgets, limits, cancellation, refusals."""

import asyncio
from contextlib import suppress
from functools import partial

import anyio
import pytest
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import (
    Charge,
    CheckpointHook,
    GovernancePolicy,
    MemoryStorage,
    PermissionAction,
    PermissionRule,
    SchedulerBudget,
    UserInterrupt,
    straight_line,
    tool,
    verify,
)
from kernelckpt.errors import EffectError, UsageError


class Calls(list):
    async def note(self, what):
        self.append(what)


async def test_a_budget_ends_it_before_the_next_step_and_extended_it_repeats_none():
    calls, storage = Calls(), MemoryStorage()
    costly = tool(name="costly", charge=lambda _: Charge(tokens=10))(calls.note)

    @straight_line
    async def program(run):
        for number in range(4):
            await run.step("costly", costly, number)
        return "done"

    hook = CheckpointHook(storage)
    async with kernel_of({"p": program}, hooks=[hook]) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_total_tokens=20))
        assert (await kernel.join("t")).termination.value == "token_budget"
        assert calls == [0, 1]
    assert (await verify(storage, "run")).findings == ()
    async with kernel_of({"p": program}, hooks=[CheckpointHook(storage)]) as kernel:
        await kernel.extend("t", SchedulerBudget(max_total_tokens=100))
        assert (await kernel.join("t")).text == "done"
        assert kernel.tasks.get("t").budget.total_tokens == 40
    assert calls == [0, 1, 2, 3]
    assert (await verify(storage, "run")).findings == ()


async def test_nothing_is_kept_of_the_steps_of_a_task_that_has_ended():
    recorder, calls = Recorder(), Calls()

    @straight_line
    async def program(run):
        await run.step("note", calls.note, 1)
        await run.receive()

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert len([kind for kind, *_ in recorder.saved().records if kind == "effect"]) == 1
        await kernel.cancel("t")
        assert [kind for kind, *_ in recorder.saved().records if kind == "effect"] == []


@pytest.mark.parametrize("limits", [{"max_steps": 2}, {"max_bytes": 12}])
async def test_a_step_beyond_the_limit_is_not_begun(limits):
    calls = []

    async def note(what):
        calls.append(what)
        return "six by"

    @straight_line(**limits)
    async def program(run):
        for number in range(9):
            with suppress(UsageError):  # it must not be able to go on
                await run.step("note", note, number)

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
    assert "StepLimitError: 2 steps are recorded, with 14 bytes" in result.error
    assert calls == [0, 1]


@pytest.mark.parametrize("limits", [{"max_steps": 0}, {"max_bytes": 1.5}, {"version": 0}])
def test_what_is_no_limit_or_version_is_refused(limits):
    async def program(run):
        pass

    with pytest.raises(UsageError):
        straight_line(**limits)(program)
    with pytest.raises(UsageError, match="async"):
        straight_line(lambda run: None)


@pytest.mark.parametrize("clean_up", ["step", "sleep", "receive", "gathered"])
async def test_cancelled_it_ends_and_its_clean_up_records_nothing(clean_up):
    calls, recorder, at_work = Calls(), Recorder(), anyio.Event()

    async def stuck():
        at_work.set()
        await anyio.sleep_forever()

    async def cleaned(run):
        calls.append("left")
        match clean_up:
            case "step" | "gathered":
                await run.step("note", calls.note, "made")
            case "sleep":
                await run.sleep(1)
            case "receive":
                await run.receive()

    async def branch(run):
        try:
            await run.step("stuck", stuck)
        finally:
            await cleaned(run)

    @straight_line
    async def program(run):
        await (asyncio.gather(branch(run)) if clean_up == "gathered" else branch(run))

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.send("t", "a message")
        await at_work.wait()
        await kernel.cancel("t", "enough")
        assert (await kernel.join("t")).termination.value == "user_abort"
        await settle()
    assert calls == ["left"]
    assert [kind for kind, *_ in recorder.saved().records if kind == "effect"] == []


async def test_left_for_a_wait_its_clean_up_makes_no_step():
    calls = Calls()

    async def branch(run):
        try:
            await run.receive()
        finally:
            await run.step("note", calls.note, "cleaned up")

    @straight_line
    async def program(run):
        await asyncio.gather(branch(run))
        return "end"

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert calls == []
        await kernel.send("t", "go on")
        assert (await kernel.join("t")).text == "end"
    assert calls == ["cleaned up"]


async def test_a_refusal_undoes_the_turn_and_the_function_is_run_again_when_it_may():
    calls = Calls()
    policy = GovernancePolicy(rules=(PermissionRule("pay", PermissionAction.DENY),))

    @straight_line
    async def program(run):
        await run.step("look", calls.note, "look")
        try:
            await run.step("pay", calls.note, "pay")
        except Exception:
            await run.step("other", calls.note, "other way")
        return "paid"

    recorder = Recorder()
    async with kernel_of({"p": program}, governance=policy, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=3))
        assert (await kernel.join("t")).termination.value == "max_turns"
        assert calls == ["look"]
    hooks = [Recorder(recorder.saved())]
    async with kernel_of({"p": program}, governance=GovernancePolicy(), hooks=hooks) as kernel:
        await kernel.extend("t", SchedulerBudget(max_turns=9))
        assert (await kernel.join("t")).text == "paid"
    assert calls == ["look", "pay"]


async def test_a_step_that_raised_is_not_made_again_after_a_turn_was_undone():
    calls, seen = Calls(), []
    policy = GovernancePolicy(rules=(PermissionRule("pay", PermissionAction.DENY),))

    async def fail():
        calls.append("fail")
        raise ValueError("no")

    @straight_line
    async def program(run):
        try:
            await run.step("fail", fail)
        except EffectError as error:
            seen.append(error.error)
        await run.step("pay", calls.note, "pay")

    async with kernel_of({"p": program}, governance=policy) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=3))
        await kernel.join("t")
    assert calls == ["fail"]
    assert seen == ["ValueError: no"] * 3


async def test_a_gated_step_is_made_once_a_human_has_allowed_it():
    calls = Calls()
    policy = GovernancePolicy(rules=(PermissionRule("pay", PermissionAction.ASK_USER),))

    @straight_line
    async def program(run):
        await asyncio.gather(
            run.step("look", calls.note, "look"),
            run.step("pay", calls.note, "pay"),
        )
        return "paid"

    async with kernel_of({"p": program}, governance=policy) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (question,) = kernel.approvals()
        assert calls == ["look"]
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "paid"
    assert calls == ["look", "pay"]


async def test_a_step_within_a_step_is_refused():
    @straight_line
    async def program(run):
        async def outer():
            await run.step("inner", outer)

        try:
            await run.step("outer", outer)
        except EffectError as error:
            return error.error

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        assert "within another step" in (await kernel.join("t")).text


async def test_names_of_the_kernels_own_steps_are_refused():
    @straight_line
    async def program(run):
        await run.step("run.sleep", anyio.sleep, 1)

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        assert "kernel's own" in (await kernel.join("t")).error


async def test_rolled_back_from_outside_it_repeats_nothing_that_is_recorded():
    calls, at_work = Calls(), anyio.Event()

    async def fail():
        calls.append("fail")
        raise ValueError("no")

    @tool(effect="idempotent")
    async def stuck():
        calls.append("stuck")
        if not at_work.is_set():
            at_work.set()
            await anyio.sleep_forever()

    @straight_line
    async def program(run):
        with suppress(EffectError):
            await run.step("fail", fail)
        await run.step("note", calls.note, "noted")
        await run.step("stuck", stuck)
        return "done"

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await at_work.wait()
        await kernel.rollback("t", UserInterrupt())
        assert (await kernel.join("t")).text == "done"
    assert calls == ["fail", "noted", "stuck", "stuck"]


async def test_steps_are_made_of_functions_of_every_kind():
    def sync(number):
        return number + 1

    async def plain(number):
        return number + 2

    class Callable:
        async def __call__(self, number):
            return number + 3

    @straight_line
    async def program(run):
        functions = [sync, plain, tool(sync), partial(plain, 10), Callable(), lambda: 5]
        numbers = [[1], [1], [1], [], [1], []]
        made = [await run.step(f"s{n}", fn, *numbers[n]) for n, fn in enumerate(functions)]
        return [*made, await run.wrap(sync)(number=7), await run.wrap(partial(plain, 1), name="p")()]

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
    assert (result.output, result.error) == ([2, 3, 2, 12, 4, 5, 8, 3], "")


async def test_the_error_of_a_failed_function_names_the_place():
    @straight_line
    async def program(run):
        raise ValueError("no such printer")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        error = (await kernel.join("t")).error
    assert error.startswith("ValueError: no such printer")
    assert "test_step_limits.py" in error


async def test_when_the_kernel_stops_the_step_under_way_is_the_last():
    calls, at_work, let_go, recorder = Calls(), anyio.Event(), anyio.Event(), Recorder()

    async def work(number):
        calls.append(number)
        at_work.set()
        await let_go.wait()

    @straight_line
    async def program(run):
        for number in range(5):
            await run.step("work", work, number)
        return "done"

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await at_work.wait()
        kernel.request_stop()
        let_go.set()
    assert calls == [0]
    async with kernel_of({"p": program}, hooks=[Recorder(recorder.saved())]) as kernel:
        assert kernel.restored.in_doubt == ()
        assert (await kernel.join("t")).text == "done"
    assert calls == [0, 1, 2, 3, 4]
