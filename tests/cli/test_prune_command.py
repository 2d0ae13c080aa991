"""`kernelckpt prune`."""

import anyio
import pytest
from cli_kit import RUN, SHOWN, call, run_command

from kernelckpt import FileStorage
from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import RunLog


async def open_log(storage):
    return await RunLog.open(
        storage, RUN, holder="a test", clock=SystemClock(), encode=encode_record, owner_wait=0.0
    )


async def add_bases(folder, count):
    async with FileStorage(folder) as storage:
        for _ in range(count):
            log = await open_log(storage)
            scan = [*log.loaded.records.items(), *((key, None) for key in log.loaded.streams)]
            await log.write_base(iter(scan))
            await log.aclose()


@pytest.fixture
def folder(url, tmp_path):
    anyio.run(add_bases, tmp_path / "state", 4)
    return tmp_path / "state"


def test_a_dry_run_says_what_pruning_then_does(folder):
    rehearsed = call("prune", RUN, "--dry-run", "--json")
    assert rehearsed.code == 0
    assert set(rehearsed.data) == {"run", "dry_run", "entries", "blobs", "size"}
    assert (rehearsed.data["dry_run"], rehearsed.data["blobs"]) == (True, 2)
    assert "would remove" in call("prune", RUN, "--dry-run").out
    done = call("prune", RUN, "--json")
    assert done.data == {**rehearsed.data, "dry_run": False}
    assert call("prune", RUN).out == f"run {SHOWN}: nothing to remove\n"
    assert call("verify", RUN).code == 0


def test_how_many_bases_to_keep(folder):
    assert call("prune", RUN, "--bases", "9", "--json").data["blobs"] == 0
    assert " and 1 blob, " in call("prune", RUN, "--bases", "3").out
    assert call("prune", RUN, "--bases", "1", "--json").data["blobs"] == 2
    assert call("verify", RUN).code == 0


def test_pins(folder):
    pinned = call("log", RUN, "--json").data["checkpoints"][-1]["sequence"]
    assert call("prune", RUN, "--bases", "1", "--pin", str(pinned), "--pin", "2").code == 0
    assert call("show", f"{RUN}@{pinned}").code == 0
    assert call("verify", RUN).code == 0
    missing = call("prune", RUN, "--bases", "1", "--pin", "99")
    assert (missing.code, missing.out) == (3, "")
    assert "checkpoint 99" in missing.err


@pytest.mark.parametrize("arguments", [["--bases", "0"], ["--pin", "0"], ["--pin", "x"]])
def test_wrong_options(folder, arguments):
    assert call("prune", RUN, *arguments).code == 2


def test_a_run_that_does_not_exist_is_not_made(folder):
    assert call("prune", "nobody").code == 3
    assert call("prune", "nobody", "--dry-run").code == 3
    assert len(call("runs", "--json").data["runs"]) == 1


def test_an_owner_who_is_alive(folder):
    async def owned():
        async with FileStorage(folder) as storage:
            log = await open_log(storage)
            done = await anyio.to_thread.run_sync(lambda: run_command("prune", RUN, "-s", f"file:{folder}"))
            dry = await anyio.to_thread.run_sync(
                lambda: run_command("prune", RUN, "-s", f"file:{folder}", "--dry-run")
            )
            await log.aclose()
            return done, dry

    done, dry = anyio.run(owned)
    assert (done.code, done.out) == (4, "")
    assert "a test" in done.err
    assert "hint: stop its owner, or wait for it to end; a command does not take a run over" in done.err
    assert dry.code == 0
    assert "would remove" in dry.out
