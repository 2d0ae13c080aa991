"""`kernelckpt verify`."""

import importlib
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from cli_kit import RUN, SHOWN, call

from kernelckpt import FileStorage
from kernelckpt.abc import Put
from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import RunLog
from kernelckpt.model.tcb import Tcb


async def add_orphans(folder, count):
    async with FileStorage(folder) as storage:
        log = await RunLog.open(
            storage, RUN, holder="a test", clock=SystemClock(), encode=encode_record, owner_wait=0.0
        )
        rows = [Tcb(f"orphan {n}", parent="nobody\x1b") for n in range(count)]
        log.stage([Put(("task", row.id, 0), row) for row in rows], 1, log.loaded.turn)
        await log.flush("test")
        await log.aclose()


def test_a_sound_run(url):
    done = call("verify", RUN)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"run {SHOWN} as of checkpoint ")
    assert lines[1].startswith("4 tasks, 2 of them live; turn 3, 1,200 tokens, cost 1.5")
    assert lines[2] == "nothing wrong"


def test_json(url):
    done = call("verify", RUN, "--json")
    assert done.code == 0
    assert (done.data["run"], done.data["ok"], done.data["findings"]) == (RUN, True, [])
    assert set(done.data) == {
        *("run", "ok", "sequence", "checkpoints", "states", "bases", "records", "messages", "tasks", "live"),
        *("turn", "total_tokens", "cost_micros", "bytes_read", "findings", "notes"),
    }


def test_findings(url, tmp_path):
    anyio.run(add_orphans, tmp_path / "state", 3)
    done = call("verify", RUN)
    assert done.code == 1
    assert "state task[\"orphan 0\"]: its parent 'nobody\\x1b' has no row" in done.out
    assert done.out.splitlines()[-1] == "6 findings"
    limited = call("verify", RUN, "-n", "2")
    assert "... and 4 more findings; --limit 0 shows all" in limited.out
    found = call("verify", RUN, "--json")
    assert (found.code, found.data["ok"], len(found.data["findings"])) == (1, False, 6)
    assert set(found.data["findings"][0]) == {"kind", "where", "text", "checkpoint"}


def test_an_earlier_checkpoint(url, tmp_path):
    newest = call("verify", RUN, "--json").data["sequence"]
    anyio.run(add_orphans, tmp_path / "state", 1)
    assert call("verify", RUN).code == 1
    assert call("verify", f"{RUN}@{newest}").code == 0
    assert call("verify", f"{RUN}@99").code == 3


def test_every_checkpoint(url, tmp_path):
    sound = call("verify", RUN, "--json").data
    anyio.run(add_orphans, tmp_path / "state", 1)
    anyio.run(add_orphans, tmp_path / "state", 1)
    newest = call("verify", RUN, "--json").data["sequence"]
    done = call("verify", RUN, "--all")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0].startswith(f'state {SHOWN}@{newest} task["orphan 0"]: its parent')
    assert any(line.startswith(f"state {SHOWN}@{newest - 1} ") for line in lines)
    assert not any(f"@{sound['sequence']} " in line for line in lines)
    every = call("verify", RUN, "--all", "--json").data
    assert every["states"] == every["checkpoints"] == sound["checkpoints"] + 2
    assert {found["checkpoint"] for found in every["findings"]} == {newest - 1, newest}
    assert call("verify", f"{RUN}@{sound['sequence']}", "--all").code == 0


APP = """
from kernelckpt import Scheduler, tool
from kernelckpt.kernel.clock import SystemClock

async def program(turn):
    raise AssertionError(turn)

def make():
    return Scheduler(dict.fromkeys(["lead", "ask", "quick", "broken"], program), run_id="démo\\x1b[31m[red]")

def make_less():
    return Scheduler({"lead": program}, run_id="other")

def broken():
    raise RuntimeError("no \\x1b[31m luck")

async def late():
    return make()

def ends():
    raise SystemExit(0)

def number():
    return 5

class Made:
    make = staticmethod(make)

scheduler = make()
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The name of a module in the current folder, which no test has imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"app_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("function", ["make", "Made.make"])
def test_an_app_that_has_all(url, app, function):
    done = call("verify", RUN, "--app", f"{app}:{function}", "--all")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "nothing wrong"


def test_an_app_that_lacks_something(url, app):
    done = call("verify", RUN, "--app", f"{app}:make_less")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == "missing in this scheduler: program 'ask' (tasks asker)"
    assert lines[1] == "note: the scheduler is one for run 'other'"
    (found,) = call("verify", RUN, "--app", f"{app}:make_less", "--json").data["findings"]
    assert (found["kind"], found["text"]) == ("missing", "program 'ask' (tasks asker)")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}", "does not name a module and a function"),
        ("{}:", "does not name a module and a function"),
        (":make", "does not name a module and a function"),
        ("no_such_module:make", "there is no module 'no_such_module'"),
        ("{}.inner:make", "there is no module '{}.inner'"),
        ("{}:none", "module '{}' has no 'none'"),
        ("{}:Made.none", "functions in it: broken, ends, late, make, make_less, number"),
        ("{}:scheduler", "is a Scheduler, not a function that makes one"),
        ("{}:APP", "has no 'APP'"),
        ("{}:broken", "{}:broken() raised RuntimeError: no \\x1b[31m luck ({}.py:"),
        ("{}:ends", "{}:ends() raised SystemExit: 0"),
        ("{}:late", "{}:late is async"),
        ("{}:number", "{}:number() returned a int, not a Scheduler"),
    ],
)
def test_an_app_that_is_none(url, app, given, said):
    done = call("verify", RUN, "--app", given.replace("{}", app))
    assert (done.code, done.out) == (2, "")
    assert said.replace("{}", app) in done.err
    assert "hint: " in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(0)", "raised SystemExit: 0"),
        ("def (", "raised SyntaxError: "),
    ],
)
def test_an_app_that_cannot_be_imported(url, app, tmp_path, text, said):
    (tmp_path / f"{app}.py").write_text(text)
    done = call("verify", RUN, "--app", f"{app}:make")
    assert (done.code, done.out) == (2, "")
    assert f"importing '{app}' {said}" in done.err


def test_an_app_is_found_in_the_folder_where_the_command_is_given(url, app):
    script = Path(sys.executable).parent / "kernelckpt"
    command = [script, "verify", RUN, "--app", f"{app}:make"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_damage(url, tmp_path):
    largest = max(
        (path for path in (tmp_path / "state").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    data = bytearray(largest.read_bytes())
    data[200] ^= 1
    largest.write_bytes(data)
    done = call("verify", RUN)
    assert done.code == 1
    assert done.out.startswith("damage ")
    shown = call("show", RUN)
    assert shown.code == 5
    assert shown.err.startswith("error: ")
    assert call("prune", RUN).code == 5
    assert call("runs").code == 0
