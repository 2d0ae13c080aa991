"""Redis under strace: an append is answered after its sync, not before. Needs strace and the right to it."""

import asyncio
import re
import signal
import subprocess

import pytest
from redis_server import RedisServer

from kernelckpt import open_storage

pytestmark = pytest.mark.root

APPENDS = 50
STRACE = ("strace", "-f", "-e", "trace=write,writev,fdatasync,fsync")
DONE = "*1\\r\\n$2\\r\\nok"
"""The answer to an append, as strace writes it."""


async def append_under_strace(server, options, trace):
    """The successful syncs (S) and the answers to appends (A), in the order of the server's calls."""
    async with await open_storage(server.url(options)) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        command = [*STRACE, "-o", str(trace), "-p", str(server.process.pid)]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while "attached" not in strace.stderr.readline():
            assert strace.poll() is None
        for number in range(2, APPENDS + 2):
            await storage.append("run", claim.epoch, number, [b"x"], b"")
        strace.send_signal(signal.SIGINT)
        await asyncio.to_thread(strace.communicate)
    events = ""
    for line in trace.read_text().splitlines():
        if re.search(r"\bf(data)?sync\(.*= 0$", line) or re.search(r"f(data)?sync resumed>.*= 0$", line):
            events += "S"
        elif "write" in line and DONE in line:
            events += "A"
    return events


@pytest.mark.may_block
async def test_an_append_is_answered_after_it_was_synced(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    try:
        events = await append_under_strace(server, "", tmp_path / "always")
        assert events.count("A") == APPENDS
        assert re.fullmatch("(S+A)+S*", events), events
        with server.admin() as admin:
            admin.config_set("appendfsync", "everysec")
        events = await append_under_strace(server, "&accept_loss=everysec", tmp_path / "everysec")
        assert events.count("A") == APPENDS
        assert "AA" in events, "the test sees no difference"
    finally:
        server.stop()
