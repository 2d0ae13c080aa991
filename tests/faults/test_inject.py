"""A part of `inject_faults.py`: real system calls of the shipped process fail, lie, hang and kill."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
SCRIPT = Path(__file__).with_name("inject_faults.py")


async def test_whatever_a_system_call_does_nothing_acknowledged_is_lost():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *("--every", "12"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    print("\n" + out.decode())
    assert process.returncode == 0, out.decode()
    assert int(re.search(rb"(\d+) injections", out)[1]) > 50
