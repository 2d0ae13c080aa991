"""`kernelckpt show`."""

import anyio
import pytest
from cli_kit import RUN, SHOWN, call, make

from kernelckpt import KernelSnapshot, load, open_storage


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
    assert call("show", f"{RUN}@99").code == 3


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
