"""`kernelckpt verify`."""

import anyio
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
        *("run", "ok", "sequence", "checkpoints", "bases", "records", "messages", "tasks", "live"),
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
    assert set(found.data["findings"][0]) == {"kind", "where", "text"}


def test_an_earlier_checkpoint(url, tmp_path):
    newest = call("verify", RUN, "--json").data["sequence"]
    anyio.run(add_orphans, tmp_path / "state", 1)
    assert call("verify", RUN).code == 1
    assert call("verify", f"{RUN}@{newest}").code == 0
    assert call("verify", f"{RUN}@99").code == 3


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
