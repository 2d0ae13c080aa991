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


def watched(folder, *plant):
    """What the interpreter reported while a golden run was loaded, verified and restored."""
    shutil.copytree(GOLDEN / "v1" / "life" / "storage", folder)
    done = subprocess.run(
        [sys.executable, str(HERE / "audit_child.py"), str(folder), *plant],
        env=os.environ | {"PYTHONPATH": str(GOLDEN)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.may_block
def test_loading_verifying_and_restoring_import_and_execute_nothing(tmp_path):
    found = watched(tmp_path / "state")
    assert found["seen"] == []
    assert found["events"] > 50, "it was watched"


@pytest.mark.may_block
@pytest.mark.parametrize(("plant", "event"), [("import", "import"), ("exec", "compile"), ("open", "open")])
def test_what_must_not_be_done_is_seen(tmp_path, plant, event):
    seen = watched(tmp_path / "state", plant)["seen"]
    assert any(text.startswith(event) for text in seen)
