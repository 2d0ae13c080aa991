"""`kernelckpt delete`."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from cli_kit import RUN, SHOWN, call, make, run_command

from kernelckpt import copy_run, open_storage
from kernelckpt.storage import FileStorage
from kernelckpt.storage.file.name import run_folder_name


@pytest.fixture(params=["file", "sqlite"])
def three(request, url, tmp_path, monkeypatch):
    """A storage of either kind with the runs a, b and RUN."""
    for run in ("a", "b"):
        make(url, run)
    if request.param == "sqlite":
        source, url = url, f"sqlite:{tmp_path}/state.db"
        for run in ("a", "b", RUN):
            call("copy", run, source, url)
    monkeypatch.setenv("KERNELCKPT_STORAGE", url)
    return url


def runs():
    return [run["run"] for run in call("runs", "--json").data["runs"]]


def test_nothing_of_a_run_is_left_and_the_others_are_sound(three):
    done = call("delete", RUN, "a", RUN, "--yes")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"run {SHOWN}: deleted\nrun a: deleted\n"
    assert runs() == ["b"]
    assert call("verify", "b").code == 0
    assert call("log", "a").code == 3
    if three.startswith("file:"):
        assert sorted(os.listdir(three[5:])) == sorted(["kernelckpt", run_folder_name("b")])


def test_json(three):
    done = call("delete", "a", "nobody", "b", "-y", "--json")
    assert done.code == 3
    assert set(done.data) == {"storage", "deleted", "failed"}
    assert done.data["deleted"] == ["a", "b"]
    (failed,) = done.data["failed"]
    assert set(failed) == {"run", "error", "hint"}
    assert failed["run"] == "nobody"
    assert "no run 'nobody'" in failed["error"]


def test_a_run_that_does_not_exist_is_named_and_takes_no_other_along(three):
    done = call("delete", "nobody", "a", "--yes")
    assert (done.code, done.out) == (3, "run a: deleted\n")
    assert "no run 'nobody'" in done.err
    assert call("delete", "a", "--yes").code == 3
    assert call("delete", "--yes").code == 2
    assert runs() == ["b", RUN]


def test_without_a_terminal_nothing_is_asked_and_nothing_deleted(three):
    done = call("delete", "a", text="y\n")
    assert (done.code, done.out) == (2, "")
    assert "hint: --yes deletes without asking" in done.err
    assert runs() == ["a", "b", RUN]


def test_an_owner_who_is_alive(three):
    async def owned():
        async with open_storage(three) as storage:
            await storage.acquire("a", "the owner")
            return await anyio.to_thread.run_sync(lambda: run_command("delete", "a", "b", "--yes"))

    done = anyio.run(owned)
    assert (done.code, done.out) == (4, "run b: deleted\n")
    assert "error: run 'a' is owned by the owner, which is alive\n" in done.err
    assert "hint: stop its owner, or wait for it to end; a command does not take a run over\n" in done.err
    assert done.err.endswith("run a: not deleted\n")
    assert runs() == ["a", RUN]
    assert call("delete", "a", "--yes").code == 0


@contextmanager
def at_a_terminal(*arguments):
    """A command whose input is a terminal, once it has asked; what it has said by then, and its input."""
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "kernelckpt", "delete", *arguments]
    with subprocess.Popen(command, stdin=end, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said = b""
        while b"[y/N]" not in said and (some := os.read(process.stderr.fileno(), 10_000)):
            said += some
        yield process, said.decode(), terminal
    os.close(terminal)
    os.close(end)


def ended(process):
    out, err = (text.decode() for text in process.communicate(timeout=60))
    return process.returncode, out, err


def assert_it_deletes_nothing(process):
    code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err.endswith("nothing was deleted\n")
    assert runs() == ["a", "b", RUN]


def test_a_terminal_is_told_what_will_be_lost_and_asked(three):
    call("send", "a", "lead", "hello")
    found = call("log", "a", "--json").data["checkpoints"]
    saved = call("log", "a").out.splitlines()[1].split()[1:3]
    with at_a_terminal("a") as (process, said, terminal):
        assert f"run a in {three}: {len(found)} checkpoints, " in said
        assert f" KiB, the newest of {' '.join(saved)}, 1 message in the inbox\n" in said
        assert said.count("\n") == 1
        os.write(terminal, b"y\n")
        assert ended(process)[:2] == (0, "run a: deleted\n")
    assert runs() == ["b", RUN]


@pytest.mark.parametrize("answer", [b"\n", b"n\n", b"\x04"], ids=["nothing", "no", "the end"])
def test_any_other_answer_deletes_nothing(three, answer):
    with at_a_terminal("a", "nobody", RUN) as (process, said, terminal):
        assert said.splitlines()[1] == "run nobody: there is none, or its deletion was begun"
        assert [line.split()[1] for line in said.splitlines()[:-1:2]] == ["a", SHOWN]
        assert "Delete these 2 runs?" in said
        os.write(terminal, answer)
        assert_it_deletes_nothing(process)


def test_ctrl_c_at_the_question(three):
    with at_a_terminal("a") as (process, _, _):
        process.send_signal(signal.SIGINT)
        assert_it_deletes_nothing(process)


def test_a_terminal_is_not_asked_about_nothing(three):
    with at_a_terminal("nobody") as (process, said, _):
        assert "[y/N]" not in said
        assert ended(process)[0] == 3
        assert "no run 'nobody'" in said


def test_a_damaged_run(url):
    make(url, "hurt")
    folder = Path(url.removeprefix("file:")) / run_folder_name("hurt")
    (folder / "run").write_bytes(b"\x93")
    with at_a_terminal("hurt") as (process, said, terminal):
        assert "run hurt in " in said
        assert "not all of it can be read: " in said
        os.write(terminal, b"y\n")
        assert ended(process)[:2] == (0, "run hurt: deleted\n")
    assert (call("runs").code, runs()) == (0, [RUN])


KEYS = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def test_an_encrypted_run_needs_no_key(url, monkeypatch):
    monkeypatch.setenv("KERNELCKPT_KEYS", KEYS)
    assert call("rekey", RUN, "--accept-plaintext").code == 0
    with at_a_terminal(RUN) as (process, said, terminal):
        assert "1 checkpoint, " in said
        os.write(terminal, b"n\n")
    monkeypatch.delenv("KERNELCKPT_KEYS")
    with at_a_terminal(RUN) as (process, said, terminal):
        assert "not all of it can be read: " in said
        os.write(terminal, b"y\n")
        assert ended(process)[0] == 0
    assert runs() == []


def test_a_copy_that_is_not_finished(url, tmp_path):
    target = f"sqlite:{tmp_path}/half.db"

    async def half():
        async with open_storage(url) as source, open_storage(target) as taking:
            finish = taking.finish_blob
            taking.append = None
            with pytest.raises(TypeError):
                await copy_run(source, taking, RUN)
            assert finish

    anyio.run(half)
    assert "was not finished" in call("runs", "-s", target).out
    assert call("delete", RUN, "-s", target, "--yes").code == 0
    assert call("runs", "-s", target, "--json").data["runs"] == []


STOPPED = """
import sys
import anyio
from kernelckpt.cli import main
from kernelckpt.storage import FileStorage, SqliteStorage

def stopping(delete):
    async def delete_run(self, run_id):
        if run_id == "b":
            print("ready", flush=True)
            await anyio.sleep_forever()
        await delete(self, run_id)
    return delete_run

for kind in (FileStorage, SqliteStorage):
    kind.delete_run = stopping(kind.delete_run)
sys.argv = ["kernelckpt", "delete", *sys.argv[1:]]
main()
"""


def test_an_interruption_leaves_what_can_be_deleted_again(three):
    command = [sys.executable, "-c", STOPPED, "a", "b", RUN, "--yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"run a: deleted\n", b"ready\n"]
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err == "interrupted: a run that is not said to be deleted is as it was, or can be deleted again\n"
    assert runs() == ["b", RUN]
    again = call("delete", "a", "b", RUN, "--yes")
    assert (again.code, again.out) == (3, f"run b: deleted\nrun {SHOWN}: deleted\n")
    assert runs() == []


def test_a_failure_says_that_it_may_be_done_in_part(url, monkeypatch):
    folder = Path(url.removeprefix("file:")) / run_folder_name(RUN)
    (folder / "notes.txt").write_text("mine")
    done = call("delete", RUN, "--yes")
    assert (done.code, done.out) == (6, "")
    assert "hint: move them away, then delete the run again\n" in done.err
    assert done.err.endswith(f"run {SHOWN}: not deleted, or only in part: delete it again\n")


def test_a_run_whose_deletion_was_begun_is_listed_as_such_and_deleted(url, monkeypatch):
    """As in an object store: it is listed until all of it is gone, and nothing of it can be read."""
    from kernelckpt.storage import refusal

    async def unread(self, run_id, **options):
        raise refusal.no_run(self.name, run_id)

    with monkeypatch.context() as patch:
        for name in ("list_entries", "list_newest", "list_blobs", "posted"):
            patch.setattr(FileStorage, name, unread)
        (run,) = call("runs", "--json").data["runs"]
        assert run["note"] == "its deletion was begun: `kernelckpt delete` goes on with it"
        assert call("delete", RUN, "--yes").code == 0
    assert runs() == []
