"""`kernelckpt runs`."""

from pathlib import Path

import anyio
import pytest
from cli_kit import RUN, SHOWN, call, make

from kernelckpt import open_storage
from kernelckpt.storage.file.name import run_folder_name


def test_each_run_with_its_newest_checkpoint(url):
    make(url, "another")
    done = call("runs", "--storage", url)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["RUN", "CHECKPOINT", "SAVED", "TURNS", "NOTE"]
    assert [line.split()[0] for line in lines[1:]] == ["another", SHOWN]
    assert "\x1b" not in done.out


def test_json(url):
    done = call("runs", "-s", url, "--json")
    assert set(done.data) == {"storage", "runs", "more"}
    assert done.data["more"] == 0
    (run,) = done.data["runs"]
    assert set(run) == {"run", "sequence", "wall_ms", "turn", "note", "damaged"}
    assert run["run"] == RUN
    assert run["sequence"] > 0
    assert run["turn"] == 3
    assert (run["note"], run["damaged"]) == ("", False)


def test_the_default_storage_and_the_environment(url):
    assert SHOWN in call("runs").out
    assert "no runs" in call("runs", env={"KERNELCKPT_STORAGE": "memory:"}).out
    assert SHOWN in call("runs", "-s", url, env={"KERNELCKPT_STORAGE": "memory:"}).out


def test_a_limit_says_what_it_leaves_out(url):
    for name in ("a", "b"):
        make(url, name)
    done = call("runs", "-n", "1")
    assert "... and 2 more runs; --limit 0 shows all" in done.out
    assert len(done.out.splitlines()) == 3
    assert call("runs", "-n", "1", "--json").data["more"] == 2
    assert len(call("runs", "-n", "0", "--json").data["runs"]) == 3


def test_no_runs(nothing, tmp_path):
    done = call("runs", "-s", nothing)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("no runs in file:")
    assert call("runs", "-s", nothing, "--json").data["runs"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint(url):

    async def acquire():
        async with open_storage(url) as storage:
            await storage.acquire("empty", "a test")

    anyio.run(acquire)
    run = next(run for run in call("runs", "--json").data["runs"] if run["run"] == "empty")
    assert (run["sequence"], run["wall_ms"]) == (0, None)
    assert any(line.split() == ["empty", "-", "-", "0"] for line in call("runs").out.splitlines())
    assert "no checkpoint yet" in call("log", "empty").out
    assert call("show", "empty").code == 3
    verified = call("verify", "empty")
    assert verified.code == 0
    assert "nothing was saved yet" in verified.out


def folder_of(url, run):
    return Path(url.removeprefix("file:")) / run_folder_name(run)


def is_cut(folder):
    (folder / "run").write_bytes(b"\x93")


def is_gone(folder):
    (folder / "run").unlink()


def is_another(folder):
    (folder / "run").write_bytes((folder.parent / run_folder_name(RUN) / "run").read_bytes())


def is_a_link(folder):
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def has_no_owner_file(folder):
    (folder / "owner.1").unlink()


DAMAGE = {
    "cut": (is_cut, "run: damaged", "restore it from a backup, or move it away and start the run's kernel"),
    "gone": (is_gone, "run: missing", "restore it from a backup, or move it away and start the run's kernel"),
    "another": (is_another, f"is the folder of run {RUN!r}", "move it away"),
    "link": (is_a_link, "not a folder", "move it away"),
    "owner": (has_no_owner_file, "owner.1: missing or damaged", "restore this file from a backup"),
}


@pytest.mark.parametrize(("damage", "reason", "remedy"), DAMAGE.values(), ids=DAMAGE)
def test_a_run_that_is_damaged_hides_no_other(url, damage, reason, remedy):
    make(url, "hurt")
    make(url, "last")
    damage(folder_of(url, "hurt"))
    done = call("runs")
    assert done.code == 5
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [SHOWN, "hurt", "last"]
    assert f"hint: {remedy}" in done.err
    found = {run["run"]: run for run in call("runs", "--json").data["runs"]}
    assert {run: found[run]["damaged"] for run in found} == {RUN: False, "hurt": True, "last": False}
    assert reason in found["hurt"]["note"]
    assert reason.replace("\x1b", "\\x1b") in done.err
    assert found[RUN]["sequence"] > 0 == found["hurt"]["sequence"]


def test_a_damaged_run_is_named_by_its_folder_where_that_hides_its_id(url):
    is_cut(folder_of(url, RUN))
    make(url, "another")
    found = call("runs", "--json").data["runs"]
    assert [run["run"] for run in found] == ["another", run_folder_name(RUN)]
    assert call("runs", "-n", "1").code == 5, "shown or not"


@pytest.mark.parametrize("damage", [is_cut, is_gone])
def test_the_remedy_for_a_damaged_run_file(url, damage):
    folder = folder_of(url, RUN)
    before = call("show", RUN, "--json").data["tasks"]
    damage(folder)
    (folder / "run").unlink(missing_ok=True)
    make(url)
    assert call("runs").code == 0
    assert [task["id"] for task in call("show", RUN, "--json").data["tasks"]] == [
        task["id"] for task in before
    ]
    assert call("verify", RUN).code == 0


def test_one_run_of_a_file_is_imported_beside_a_damaged_one(url, tmp_path):
    import sqlite3

    for run in (RUN, "hurt"):
        make(url, run)
        call("export", run, "out.db")
    with sqlite3.connect("out.db") as database:
        database.execute("UPDATE runs SET head = 1 WHERE id = ?", (b"hurt",))
    database.close()
    listed = call("runs", "-s", f"sqlite:{tmp_path}/out.db", "--json")
    assert (listed.code, [run["run"] for run in listed.data["runs"]]) == (5, [RUN, "hurt"])
    back = f"file:{tmp_path}/back"
    assert call("import", "out.db", "-s", back).code == call("import", "out.db", "hurt", "-s", back).code == 5
    assert call("import", "out.db", RUN, "-s", back).code == 0
