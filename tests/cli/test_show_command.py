"""`kernelckpt show`."""

import anyio
import pytest
from cli_kit import RUN, SHOWN, call, make

from kernelckpt import (
    CheckpointHook,
    KernelSnapshot,
    Program,
    Retry,
    Scheduler,
    SchedulerBudget,
    load,
    open_storage,
)
from kernelckpt.testing import ManualClock


def test_tasks_questions_totals(url):
    done = call("show", RUN)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert done.out.startswith(f"run {SHOWN}, checkpoint ")
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line}
    assert done.out.splitlines()[2].split() == ["TASK", "PROGRAM", "STATE", "WAITS", "FOR", "TURNS", "TOKENS"]
    assert rows["lead"] == ["lead", "lead", "suspended", "sub_agent_join", "asker", "1", "0"]
    assert rows["quick"] == ["quick", "quick", "done:", "completed", "1", "1,200"]
    assert rows["broken"][2:4] == ["done:", "error"]
    assert "pending approvals" in done.out
    assert "Are you\\nsure? \\x1b[5m" in done.out
    assert "4 tasks, 2 of them live; 1,200 tokens, cost 1.5; 1 queued signal" in done.out


def test_json_is_the_snapshot(url):
    async def loaded():
        async with open_storage(url) as storage:
            return await load(storage, RUN)

    assert KernelSnapshot.from_dict(call("show", RUN, "--json").data) == anyio.run(loaded)


def test_an_earlier_checkpoint(url):
    first = call("show", f"{RUN}@1", "--json").data
    assert [row["id"] for row in first["tasks"]] in ([], ["lead"])
    assert "checkpoint 1," in call("show", f"{RUN}@1").out
    none = call("show", f"{RUN}@99")
    assert none.code == 3
    assert "`kernelckpt log RUN` lists those it has" in none.err


def test_one_task(url):
    done = call("show", RUN, "--task", "asker")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    lines = done.out.splitlines()
    assert "parent      lead" in lines
    assert "waits for   approval" in lines
    assert "inbox       message: hello?" in lines
    assert "question    sure (pending): Are you\\nsure? \\x1b[5m" in lines
    assert "[0] assistant: may I?" in lines
    assert '    calls mail({"to":"[bold]you"}) as c1' in lines
    assert lines[-2:] == ["[1] tool: first line", "second \\x1b[2J line\\u202e"]


def test_results_and_errors_of_a_task(url):
    quick = call("show", RUN, "-t", "quick").out
    assert "result      quick as ever" in quick
    assert 'output      {"näme":[1,2]}' in quick
    assert "cost        1.5" in quick
    assert "error       ValueError: no \\x1b[31m luck" in call("show", RUN, "-t", "broken").out
    assert "children    asker, quick" in call("show", RUN, "-t", "lead").out


def test_the_newest_messages_of_a_task(url):
    done = call("show", RUN, "-t", "quick", "-n", "2").out
    assert "... 3 older messages; --limit 0 shows all" in done
    assert done.splitlines()[-2:] == ["[3] assistant: thought 3", "[4] assistant: thought 4"]
    assert "older" not in call("show", RUN, "-t", "quick", "-n", "0").out


def test_one_task_as_json(url):
    data = call("show", RUN, "-t", "asker", "--json").data
    assert set(data) == {"task", "context", "inbox", "approvals"}
    assert data["task"]["id"] == "asker"
    assert data["context"]["history_messages"][0]["content"] == "may I?"
    assert [item["key"] for item in data["approvals"].values()] == ["sure"]
    assert set(call("show", RUN, "-t", "lead", "--json").data) == {"task", "context", "state"}
    assert set(call("show", RUN, "-t", "quick", "--json").data) == {"task", "context", "input"}


def test_no_such_task(url):
    done = call("show", RUN, "--task", "x\x1b")
    assert (done.code, done.out) == (3, "")
    assert "no task 'x\\x1b'" in done.err


def test_a_limit_says_what_it_leaves_out(url):
    make(url, "many", 30)
    done = call("show", "many", "-n", "3").out
    assert "... and 31 more tasks; --limit 0 shows all" in done
    assert "34 tasks" in done
    assert "many 29" in call("show", "many", "-n", "0").out


@pytest.mark.parametrize(
    ("run_id", "reference"), [("a@b", "a@b"), ("a@1", "a@1@"), ("a@", "a@@"), ("@7", "@7"), ("a@1", "a@1@1")]
)
def test_run_ids_with_an_at_sign(nothing, run_id, reference):
    make(nothing, run_id)
    done = call("show", reference, "-s", nothing)
    assert done.code == 0
    assert done.out.startswith(f"run {run_id}, checkpoint ")


def test_a_task_that_is_to_be_tried_again_and_its_limits(nothing):
    async def raising(turn):
        turn.spend(tokens=7, cost_micros=1_500_000)
        raise ValueError("no \x1b[31m luck")

    async def lead(turn):
        return turn.join(turn.spawn("raising", task_id="r", budget=SchedulerBudget(deadline_ms=10**12)))

    async def make_one():
        programs = {"raising": Program(raising, retry=Retry(first=60.0)), "lead": lead}
        hook, clock = CheckpointHook(nothing, every=None), ManualClock(10**12 - 90_000)
        async with Scheduler(programs, run_id="r", hooks=[hook], clock=clock) as kernel:
            limits = SchedulerBudget(include_children=True, max_cost_micros=9_000_000)
            await kernel.submit("lead", task_id="l", budget=limits)
            while not (kernel.tasks.get("r") and kernel.tasks.get("r").failed):
                await anyio.sleep(0)

    anyio.run(make_one)
    lines = call("show", "r", "-s", nothing, "-t", "r").out.splitlines()
    assert "waits for   until 2001-09-09 01:46:10" in "\n".join(lines)
    assert "deadline    2001-09-09 01:46:40" in "\n".join(lines)
    assert "failed      1 times in a row, last by ValueError: no \\x1b[31m luck" in "\n".join(lines)
    lines = call("show", "r", "-s", nothing, "-t", "l").out.splitlines()
    assert "below it    7 tokens, cost 1.5, in the same limits" in lines
    assert "cost        0 of 9" in lines
