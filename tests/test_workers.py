"""The tests say and show in several processes what they do in one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = r"""
import logging
import pytest

@pytest.mark.parametrize("number", range(4))
def test_here(number):
    logging.warning("half of a character: \ud800")

@pytest.mark.servers
def test_elsewhere():
    raise AssertionError

def test_that_fails():
    raise AssertionError("half of a character: \ud800")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_tells_what_it_left_out_and_shows_what_was_said(tmp_path, workers):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", str(workers), *settings, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "LEFT OUT: 1 tests of 'servers'" in done.stdout
    assert "1 failed, 4 passed" in done.stdout
    assert r"AssertionError: half of a character: \ud800" in done.stdout
