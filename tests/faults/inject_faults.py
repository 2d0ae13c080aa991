"""Lets strace fail, delay, cut short or kill at the n-th system call of a process that owns a run: every n.

Whatever is met: the process goes on or ends with a typed error that names the path and a remedy, and what it
had acknowledged is there afterwards. A write that lies (it says it took bytes that it did not take) cannot be
noticed when it happens: there, damage must be reported when the run is restored. Needs strace, and the right
to attach.

python tests/faults/inject_faults.py --every 1
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from strace_kit import need_strace
from traced_process import LIVES

from kernelckpt import CheckpointHook, LogOptions, Retention, Scheduler, load, open_storage
from kernelckpt.errors import CorruptionError, KernelCkptError

SYNCS, WRITE, NAMES = ("fsync", "fdatasync"), ("pwritev2",), ("linkat", "unlink", "openat")
ERRORS = ("EIO", "ENOSPC", "EROFS")
LIES = ("retval=0", "retval=5")
SWEEP = (
    *((call, f"error={error}") for call in (*SYNCS, *WRITE, *NAMES) for error in ERRORS),
    *((call, "error=EINTR") for call in SYNCS),
    *((call, "delay_enter=2000") for call in SYNCS),
    *((call, lie) for call in WRITE for lie in LIES),
    *((call, "signal=SIGKILL") for call in (*SYNCS, *WRITE, *NAMES)),
)
"""Which call meets what."""

OPTIONS = LogOptions(base_min_bytes=0, base_factor=0.0, retry_first=0.001)


class InjectionError(Exception):
    """Something was lost, or an error was not what it should be."""


async def clerk(turn):
    """Keep what is sent."""
    for message in turn.inbox:
        turn.append(message)
    return turn.wait_for_message()


async def live(url, numbers, tell):
    """One life: every send and every base may fail, with a typed error."""
    hook = CheckpointHook(url, every=None, owner_wait=0, log=OPTIONS)
    async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook]) as kernel:
        await kernel.submit("clerk", task_id="clerk")
        for number in numbers:
            await kernel.send("clerk", str(number), key=str(number))
            tell(f"acknowledged {number}")
            await kernel.idle()
            if number % 2:
                try:
                    await hook._log.write_base(kernel.scan())
                    await hook._log.prune(Retention(bases=1))
                except KernelCkptError as error:
                    tell(f"failed {type(error).__name__}: {error}")


async def victim(url, fd):
    def tell(line):
        os.write(fd, line.encode() + b"\n")

    for numbers in LIVES:
        try:
            await live(url, numbers, tell)
        except KernelCkptError as error:
            tell(f"failed {type(error).__name__}: {error}")
    tell("done")


def fork_victim(url):
    """A process that waits to be told to begin; its id, the pipe for that, and the pipe it tells by."""
    (begin, beginning), (telling, told) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(beginning)
            os.read(begin, 1)
            asyncio.run(victim(url, told))
            code = 0
        finally:
            os._exit(code)
    os.close(begin)
    os.close(told)
    return pid, beginning, telling


def inject(url, call, what, nth, out):
    """Run a victim under strace; how it ended, and its lines."""
    pid, beginning, telling = fork_victim(url)
    tampering = ["-e", f"inject={call}:{what}:when={nth}"] if what else []
    command = [need_strace(), "-f", "-y", "-xx", "-s", "200", "-o", out, "-e", f"trace={call}", *tampering]
    with subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE) as strace:
        while b"attached" not in (line := strace.stderr.readline()):
            if not line:
                raise InjectionError("strace could not attach: run this as root")
        os.close(beginning)
        with open(telling, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        strace.stderr.read()
    return code, lines


class Sweep:
    """Injections of every kind at every n-th call.

    Attributes:
        counts: injections by what was injected, and how the processes met them.
    """

    def __init__(self, folder):
        self.counts = Counter()
        self._folder = folder

    def calls(self, call):
        """How many calls of that name the storage's thread makes when nothing fails."""
        with tempfile.TemporaryDirectory(dir=self._folder) as root:
            code, lines = inject(f"file:{root}/state", call, "", 0, f"{root}/trace")
            if code or lines[-1] != "done":
                raise InjectionError(f"without faults: {code}, {lines}")
            text = Path(root, "trace").read_text()
        return max(Counter(line.split()[0] for line in text.splitlines() if f" {call}(" in line).values())

    def one(self, call, what, nth):
        with tempfile.TemporaryDirectory(dir=self._folder) as root:
            try:
                code, lines = inject(f"file:{root}/state", call, what, nth, f"{root}/trace")
                self._judge(root, what, code, lines)
            except (KernelCkptError, InjectionError, AssertionError) as error:
                raise InjectionError(f"{call}:{what}:when={nth}: {type(error).__name__}: {error}") from error

    def _judge(self, root, what, code, lines):
        text = Path(root, "trace").read_text()
        if what == "signal=SIGKILL":
            assert code == -signal.SIGKILL, f"it ended with {code} instead of dying"
        else:
            assert code == 0, f"it ended with {code}: {lines}"
            assert lines[-1] == "done", lines
            assert "(INJECTED)" in text or "(DELAYED)" in text, "nothing was injected"
        failures = [line for line in lines if line.startswith("failed")]
        place = (
            r": (.*/[^ ]*|entry \d+): " if what in LIES else r": .*/[^ ]*: "
        )  # a lie is found when it is read
        for line in failures:
            assert re.search(place, line), f"which place? {line}"
            assert line.rstrip().endswith(")"), f"what to do? {line}"
        told = [line.split()[1] for line in lines if line.startswith("acknowledged")]
        met = asyncio.run(self._restore(root, told, lying=what in LIES))
        self.counts[what] += 1
        self.counts["failed and was told so" if failures else "went on"] += 1
        self.counts["damage was reported"] += met

    async def _restore(self, root, told, *, lying):
        """Compare and go on; whether damage was reported instead."""
        try:
            await live(f"file:{root}/state", (100, 101), lambda line: told.append(line.split()[1]))
            async with open_storage(f"file:{root}/state") as storage:
                snapshot = await load(storage, "run")
        except CorruptionError:
            if lying:
                return True
            raise
        texts = [message.text for message in snapshot.contexts["clerk"].history_messages]
        assert [text for text in texts if text in told] == told, f"{told} was acknowledged, {texts} is there"
        assert sorted(set(texts), key=int) == texts, f"out of order, or twice: {texts}"
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take only each so many-th call")
    parser.add_argument(
        "--folder", default="/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()
    )
    given = parser.parse_args()
    sweep, began = Sweep(given.folder), time.perf_counter()
    counts = {call: sweep.calls(call) for call in dict(SWEEP)}
    for number, (call, what) in enumerate(SWEEP):
        for nth in range(1 + number % given.every, counts[call] + 1, given.every):
            sweep.one(call, what, nth)
    injected = sum(sweep.counts[what] for what in {what for _, what in SWEEP})
    print(f"{injected} injections in {time.perf_counter() - began:.0f} s: {dict(sweep.counts)}")
    print("nothing acknowledged was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
