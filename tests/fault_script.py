"""Running one of the scripts in `tests/faults/` to its end."""

import asyncio
import sys
from pathlib import Path


async def run_script(name, *arguments):
    """Its exit code, and what it printed; it does not outlive whoever waits for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "faults" / name),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode()
