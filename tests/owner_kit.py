"""Processes that own a run, or try to; see `tests/faults/owner_process.py`."""

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

CHILD = Path(__file__).parent / "faults" / "owner_process.py"
PATIENCE = 60
"""Seconds; longer than any storage takes to see that an owner was killed."""


class Owner:
    """One process; what it says, line by line."""

    def __init__(self, process):
        self.process = process
        self.said = []

    @classmethod
    async def begin(cls, url, owner_wait=0.0, *, takeover=False):
        pipe = asyncio.subprocess.PIPE
        arguments = [url, str(owner_wait), "takeover" if takeover else "wait"]
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, str(CHILD), *arguments, stdin=pipe, stdout=pipe, stderr=pipe
            )
        )

    async def says(self, beginning):
        """The next line that begins so; earlier ones are remembered."""
        with anyio.fail_after(PATIENCE):
            while line := (await self.process.stdout.readline()).decode().strip():
                self.said.append(line)
                if line.startswith(beginning):
                    return line
        raise AssertionError(f"{self.said}, then: {(await self.process.stderr.read()).decode()}")

    def send(self, text):
        self.process.stdin.write(f"{text}\n".encode())

    async def ends(self):
        """Its return code and its complaints; what it still says is remembered."""
        with anyio.fail_after(PATIENCE):
            out, complaints = await self.process.communicate()
        self.said += out.decode().splitlines()
        return self.process.returncode, complaints.decode()

    async def files(self, text):
        """Have it file something, to the end."""
        self.send(text)
        await self.says(f"acknowledged {text}")
        self.send("idle?")
        await self.says("acknowledged idle?")
        assert f"filed {text}" in self.said


@asynccontextmanager
async def beginning(url):
    """A function that begins processes on one storage; none of them is left afterwards."""
    owners = []

    async def begin(*arguments, **options):
        owners.append(await Owner.begin(url, *arguments, **options))
        return owners[-1]

    try:
        yield begin
    finally:
        for owner in owners:
            if owner.process.returncode is None:
                owner.process.kill()
                await owner.ends()
