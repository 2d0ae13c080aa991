"""`kernelckpt copy`, `export` and `import`."""

import signal
import sqlite3
import subprocess
import sys

import anyio
import pytest
from cli_kit import RUN, SHOWN, call, make, run_command

from kernelckpt import FileStorage, SqliteStorage, copy_run
from kernelckpt.errors import StorageError

COUNTS = {"newest", "entries", "blobs", "messages", "size", "new_entries", "new_blobs", "new_size"}


def states(url, *runs):
    return [call("show", run, "--json", "--storage", url).data["tasks"] for run in runs or (RUN,)]


@pytest.fixture
def two(url):
    """A storage with two runs."""
    make(url, "second")
    return url


def test_a_run_in_another_storage(url, tmp_path):
    target = f"file:{tmp_path}/target"
    done = call("copy", RUN, url, target)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"run {SHOWN} up to checkpoint ")
    assert "; all of it copied, compared byte by byte\n" in done.out
    assert states(target) == states(url)
    assert call("verify", RUN, "--storage", target).code == 0
    assert "nothing was new, compared" in call("copy", RUN, url, target).out
    again = call("copy", RUN, url, target, "--json").data
    assert (again["from"], again["to"], again["run"]) == (url, target, RUN)
    assert set(again) == {"from", "to", "run", *COUNTS}
    assert again["new_size"] == 0 < again["size"]


def test_what_is_new_is_copied(url, tmp_path):
    target = f"sqlite:{tmp_path}/target.db"
    call("copy", RUN, url, target)
    make(url)
    done = call("copy", RUN, url, target)
    assert " of it copied now, compared byte by byte" in done.out
    assert states(target) == states(url)


def test_a_file_that_holds_two_runs_and_nothing_else_beside_it(two, tmp_path):
    file = tmp_path / "out.db"
    assert call("export", RUN, str(file)).code == 0
    assert call("export", "second", "out.db", "--storage", two).code == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out.db"]
    assert states(f"sqlite:{file}", RUN, "second") == states(two, RUN, "second")
    done = call("import", "out.db", "--storage", f"file:{tmp_path}/back")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert states(f"file:{tmp_path}/back", RUN, "second") == states(two, RUN, "second")


def test_some_of_the_runs_of_a_file(two, tmp_path):
    for run in (RUN, "second"):
        call("export", run, "out.db")
    back = f"file:{tmp_path}/back"
    missing = call("import", "out.db", "second", "nobody", "--storage", back)
    assert (missing.code, missing.out) == (3, "")
    assert "no run 'nobody'" in missing.err
    assert call("runs", "--json", "--storage", back).data["runs"] == []
    done = call("import", "out.db", "second", "--json", "--storage", back)
    assert [run["run"] for run in done.data["runs"]] == ["second"]
    assert [run["run"] for run in call("runs", "--json", "--storage", back).data["runs"]] == ["second"]


def test_a_file_name_that_means_something_in_a_url(url, tmp_path):
    (tmp_path / "a#b?c%20").mkdir()
    file = str(tmp_path / "a#b?c%20" / "é.db")
    assert call("export", RUN, file).code == 0
    assert call("import", file, "--storage", f"file:{tmp_path}/back").code == 0
    assert states(f"file:{tmp_path}/back") == states(url)


def foreign_database(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE thesis (chapter)")
    database.close()


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.write_text("the only copy of my thesis"),
        foreign_database,
        lambda path: path.mkdir(),
    ],
    ids=["text", "database", "folder"],
)
def test_what_is_no_storage_is_not_exported_over(url, tmp_path, put):
    path = tmp_path / "mine"
    put(path)
    before = path.read_bytes() if path.is_file() else None
    done = call("export", RUN, str(path))
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith("error: ")
    assert (path.read_bytes() if path.is_file() else None) == before


def test_refusals(two, tmp_path):
    target = f"file:{tmp_path}/target"
    make(target)
    assert call("copy", RUN, two, two).code == 2
    assert call("copy", "nobody", two, target).code == 3
    other = call("copy", RUN, two, target)
    assert (other.code, other.out) == (2, "")
    assert "is not an earlier state of the one in" in other.err
    assert call("import", "nothing.db").code == 2
    assert not (tmp_path / "nothing.db").exists()
    assert call("copy", RUN, two, "ftp://x").code == 2
    assert call("export", RUN).code == 2


def test_an_owner_of_the_target(url, tmp_path):
    target = f"file:{tmp_path}/target"
    call("copy", RUN, url, target)
    make(url)

    async def owned():
        async with FileStorage(tmp_path / "target") as storage:
            await storage.acquire(RUN, "a test")
            return await anyio.to_thread.run_sync(lambda: run_command("copy", RUN, url, target))

    done = anyio.run(owned)
    assert (done.code, done.out) == (4, "")
    assert "is owned by a test, which is alive" in done.err


async def half_a_copy(url, path):
    class Full(SqliteStorage):
        async def append(self, run_id, epoch, sequence, entry, meta):
            if sequence == 3:
                raise StorageError("no more", hint="a test")
            await super().append(run_id, epoch, sequence, entry, meta)

    async with FileStorage(url.removeprefix("file:")) as source, Full(path) as target:
        with pytest.raises(StorageError):
            await copy_run(source, target, RUN)


def test_half_a_copy_is_of_no_use_and_gone_on_with(url, tmp_path):
    anyio.run(half_a_copy, url, tmp_path / "out.db")
    half = f"sqlite:{tmp_path}/out.db"
    assert call("runs", "--storage", half).out.rstrip().endswith("copying it to here was not finished")
    for command in ("show", "verify", "prune"):
        done = call(command, RUN, "--storage", half)
        assert (done.code, done.out) == (6, "")
        assert "was not finished" in done.err
        assert "hint: copy it again: that goes on where it ended" in done.err
    assert call("send", RUN, "lead", "hello", "--storage", half).code == 6
    assert call("import", "out.db", "--storage", f"file:{tmp_path}/back").code == 6
    done = call("export", RUN, "out.db", "--json")
    assert (done.code, done.data["entries"] - done.data["new_entries"]) == (0, 2)
    assert states(half) == states(url)


STOPPED = """
import sys
import anyio
from kernelckpt.cli.app import main
from kernelckpt import FileStorage, SqliteStorage

def stopping(add):
    async def append(self, run_id, epoch, sequence, entry, meta):
        await add(self, run_id, epoch, sequence, entry, meta)
        if sequence == 3:
            print("ready", flush=True)
            await anyio.sleep_forever()
    return append

for kind in (FileStorage, SqliteStorage):
    kind.append = stopping(kind.append)
sys.argv = ["kernelckpt", "copy", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_copy_that_is_interrupted_or_killed_is_gone_on_with(url, tmp_path, kind, ending):
    target = f"{kind}:{tmp_path}/target"
    command = [sys.executable, "-c", STOPPED, RUN, url, target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(ending)
        _, err = process.communicate(timeout=60)
    if ending == signal.SIGINT:
        assert process.returncode == 130
        assert err.decode().startswith("interrupted: what is copied is kept, and the same command goes on")
    assert call("show", RUN, "--storage", target).code == 6
    done = call("copy", RUN, url, target, "--json")
    assert (done.code, done.data["entries"] - done.data["new_entries"]) == (0, 3)
    assert states(target) == states(url)


def test_an_empty_file_of_runs(url, tmp_path):
    async def make_empty():
        async with SqliteStorage(tmp_path / "out.db") as storage:
            await storage.acquire("x", "a test")
            await storage.aclose()
        async with SqliteStorage(tmp_path / "out.db") as storage:
            await storage.delete_run("x")

    anyio.run(make_empty)
    done = call("import", "out.db")
    assert (done.code, done.out.startswith("no runs in sqlite:")) == (0, True)
