"""Reading a run imports and executes nothing, and writes nothing but into its storage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
PLANTS = [("import", "import"), ("exec", "compile"), ("open", "open"), ("mkdir", "os.mkdir")]


@pytest.fixture
def golden(tmp_path):
    """The newest golden run of a kernel."""
    newest = max(GOLDEN.glob("v*/life"), key=lambda path: int(path.parent.name[1:]))
    return shutil.copytree(newest / "storage", tmp_path / "state")


def watched(folder, *choice):
    """What the interpreter reported while the child did what it is told to with the runs in a folder."""
    done = subprocess.run(
        [sys.executable, str(HERE / "audit_child.py"), str(folder), *choice],
        env=os.environ | {"PYTHONPATH": str(GOLDEN)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.may_block
def test_loading_verifying_restoring_and_showing_import_and_execute_nothing(golden):
    found = watched(golden)
    assert found["seen"] == []
    assert found["events"] > 50, "it was watched"


@pytest.mark.may_block
def test_decoding_what_nobody_wrote_imports_and_executes_nothing(tmp_path):
    found = watched(tmp_path, "--fuzz")
    assert found["seen"] == []
    assert int(found["told"].split()[0]) > 50_000


@pytest.mark.may_block
@pytest.mark.parametrize(("plant", "event"), PLANTS)
def test_what_must_not_be_done_is_seen(golden, plant, event):
    seen = watched(golden, plant)["seen"]
    assert any(text.startswith(event) for text in seen)
