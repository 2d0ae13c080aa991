"""A kernel in one process, the command line in others, and kill -9: what is posted is done once."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_kit import run_command

CHILD = Path(__file__).with_name("outside_child.py")
WAIT = ("--wait", "60")


@contextmanager
def kernel(url, *options):
    """The process of a kernel; it is killed at the end."""
    command = [sys.executable, str(CHILD), url, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process, count=1):
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


@pytest.fixture
def url(tmp_path, monkeypatch):
    url = f"file:{tmp_path}/state"
    monkeypatch.setenv("KERNELCKPT_STORAGE", url)
    return url


def texts(result):
    return result.split("; ")


def test_a_kernel_that_runs_is_told_by_others(url):
    with kernel(url) as process:
        assert lines(process) == ["ready"]
        assert "sure" in run_command("approvals", "demo").out
        done = run_command("approve", "demo", "asker", "sure", "--by", "Ann", *WAIT)
        assert (done.code, done.out) == (0, "run demo: done\n")
        assert lines(process) == ["approved by Ann"]
        done = run_command("approve", "demo", "nobody", "sure", *WAIT)
        assert (done.code, done.out) == (3, "")
        assert "the kernel has refused it: no task 'nobody'" in done.err
        done = run_command("cancel", "demo", "clerk", "--reason", "enough", *WAIT, "--json")
        assert (done.code, done.data["outcome"]["applied"]) == (0, True)
        assert lines(process) == [""]


def test_what_is_posted_to_a_dead_kernel_is_done_at_its_next_start(url):
    with kernel(url) as process:
        assert lines(process) == ["ready"]
    assert process.returncode == -signal.SIGKILL
    assert run_command("send", "demo", "clerk", "while down ✓").code == 0
    assert run_command("deny", "demo", "asker").code == 0
    assert run_command("send", "demo", "clerk", "end").code == 0
    assert run_command("send", "demo", "clerk", "x", "--wait", "0.01").code == 8
    with kernel(url) as process:
        assert lines(process, 3) == ["ready", "denied by None", "while down ✓; end; x"]


def test_a_kernel_that_is_killed_before_it_deletes_does_nothing_twice(url):
    with kernel(url, "die") as process:
        assert lines(process) == ["ready"]
        assert run_command("send", "demo", "clerk", "once").code == 0
        assert process.wait(60) == -signal.SIGKILL
    with kernel(url, "die") as process:  # it finds the command again, and dies of it again
        assert process.wait(60) == -signal.SIGKILL
    assert run_command("send", "demo", "clerk", "end").code == 0
    assert run_command("approve", "demo", "asker", "sure").code == 0
    with kernel(url) as process:
        assert lines(process, 3) == ["ready", "approved by None", "once; end"]


def test_several_command_lines_at_once(url):
    with kernel(url) as process:
        assert lines(process) == ["ready"]
        command = [sys.executable, "-m", "kernelckpt", "send", "demo", "clerk"]
        posters = [
            subprocess.Popen([*command, str(number), *WAIT], stdout=subprocess.PIPE, text=True)
            for number in range(4)
        ]
        assert [poster.communicate()[0] for poster in posters] == ["run demo: done\n"] * 4
        assert run_command("deny", "demo", "asker", *WAIT).code == 0
        assert run_command("send", "demo", "clerk", "end", *WAIT).code == 0
        assert lines(process) == ["denied by None"]
        (result,) = lines(process)
    assert sorted(texts(result)[:-1]) == ["0", "1", "2", "3"]
