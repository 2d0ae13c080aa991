"""The command: what it prints, how it ends, and that nothing of it is left when it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "kernelckpt", "demo"]


def run(*arguments):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_a_tree_that_is_none_is_a_usage_error(tmp_path):
    ended = run(tmp_path / "nowhere")
    assert ended.returncode == 2
    assert "is not a folder" in ended.stderr
    assert "hint:" in ended.stderr


def test_a_kept_folder_must_be_empty(source_tree):
    ended = run(source_tree, "--keep", source_tree)
    assert ended.returncode == 2
    assert "is not empty" in ended.stderr


@pytest.mark.slow
def test_all_kills_on_a_small_tree(source_tree, tmp_path):
    ended = run(source_tree, "--json", "--keep", tmp_path / "kept")
    facts = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert facts["matched"] is True
    assert facts["runs"]["killed"]["begun"] >= 25
    assert "SIGKILL 1" in ended.stderr
    assert (tmp_path / "kept" / "killed" / "survey.md").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_after_ctrl_c(source_tree, tmp_path):
    mark = f"KERNELCKPT_TEST={tmp_path}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(
        [*COMMAND, str(source_tree)], stderr=subprocess.PIPE, text=True, env=environment
    ) as it:
        for line in it.stderr:
            if "SIGKILL 1" in line:
                break
        assert processes_with(mark)
        it.send_signal(signal.SIGINT)
        rest = it.stderr.read()
        assert it.wait(30) == 130
    assert "Traceback" not in rest
    assert list((tmp_path / "tmp").iterdir()) == []
    deadline = time.monotonic() + 30
    while processes_with(mark) and time.monotonic() < deadline:
        os.sched_yield()
    assert processes_with(mark) == []


def processes_with(mark):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(folder.name)
            except OSError:
                continue
    return found
