"""Where a restore's processor time goes: by part, in the event loop and in threads, beside bare reading.

python -m benchmarks.profile_restore

Microseconds of a row with ten messages of 1 KiB, the least of some rounds: of processor time, which a busy
machine tells in little. What is hashed alone is what a restore cannot do without: the bytes of each frame.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import process_time, thread_time

from benchmarks.kit.text import TEXT_BYTES
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of, name, populate
from benchmarks.sides.bare import Records
from kernelckpt.codec.frame import DIGEST_BYTES

ROWS, MESSAGES, ROUNDS = 20_000, 10, 4


class _Laps:
    """Processor time since the last lap: the calling thread's, and all other threads'."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}
        self._own, self._all = thread_time(), process_time()

    def end(self, part: str) -> None:
        """The part that ends here."""
        own, whole = thread_time() - self._own, process_time() - self._all
        self.found[part] = (own, max(whole - own, 0.0))
        self._own, self._all = thread_time(), process_time()


async def _write(url: str) -> None:
    hook = MeasuredHook(url, every=None)
    async with kernel_of(hook) as kernel:
        await populate(kernel, ROWS, MESSAGES)
        await hook.base()


async def _restore(url: str) -> Mapping[str, tuple[float, float]]:
    course, laps = Course(1), _Laps()
    async with kernel_of(MeasuredHook(url, every=None, eager_bytes=0), course) as kernel:
        laps.end("rows, to where turns may run")
        await kernel.load_contexts()
        laps.end("contexts, until all are loaded")
        for number in range(ROWS):
            list(kernel.context(name(number)).history)
        laps.end("decoding all messages")
        return laps.found


def _bare(records: Records) -> Mapping[str, tuple[float, float]]:
    laps = _Laps()
    records.read()
    laps.end("bare reading and typed decoding")
    payload = bytes(MESSAGES * TEXT_BYTES)
    for _ in range(ROWS):
        hashlib.blake2b(payload, digest_size=DIGEST_BYTES).digest()
    laps.end("hashing alone")
    return laps.found


def main() -> None:
    """Print each part."""
    least: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        url, records = f"file:{folder}/run", Records(Path(folder) / "records", ROWS, MESSAGES)
        asyncio.run(_write(url))
        records.write()
        for _ in range(ROUNDS):
            for part, times in {**asyncio.run(_restore(url)), **_bare(records)}.items():
                least[part] = min(times, least.get(part, times), key=sum)
    print(f"{'microseconds of a row':32} {'event loop':>10} {'threads':>10}")
    for part, (own, others) in least.items():
        print(f"{part:32} {own / ROWS * 1e6:10.1f} {others / ROWS * 1e6:10.1f}")


if __name__ == "__main__":
    main()
