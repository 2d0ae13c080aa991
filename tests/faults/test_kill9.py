"""The short form of `kill9.py`; the long one is `make test-long`."""

import asyncio
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("kill9.py")


async def test_a_few_kills_lose_nothing_and_repeat_nothing():
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *("--kills", "8", "--agents", "200", "--seed", "11"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode()
    assert b"8/8 kills" in out
    assert b"0 faults after 8 kills" in out
