"""Memory: the peak while a base of a large state is written, above the state itself."""

from __future__ import annotations

import asyncio
import gc
import pickle
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.kit import child
from benchmarks.kit.form import Form
from benchmarks.kit.process import forget_peak, memory_bytes, peak_bytes
from benchmarks.kit.result import Findings, Side, Target
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import MeasuredHook, kernel_of, populate
from benchmarks.sides.saver import PEER, Thread, dict_messages, open_saver

TITLE = "Memory while a base is written"
TARGETS = {
    "peak": Target("peak", "peak during a base of the state, above the state: under 10 %", 0.10),
}


class Peak(Struct):
    """One round of one side, in bytes.

    Attributes:
        state: what the state takes.
        above: how much more was taken at the peak.
    """

    state: float
    above: float

    @property
    def share(self) -> float:
        """What the peak takes beside the state, as a share of it."""
        return self.above / self.state


async def run(form: Form) -> Findings:
    """Each round of each side is a process of its own."""
    mebibytes = form.of(short=10, full=1024)
    found = await interleaved(
        form.of(short=2, full=3),
        {
            "kernelckpt, base": lambda: _child("base", mebibytes),
            "pickle of the whole state": lambda: _child("whole", mebibytes),
            PEER: lambda: _child("put", min(mebibytes, 256)),
        },
    )
    shares = {name: [peak.share for peak in peaks] for name, peaks in found.items()}
    return Findings(
        f"{mebibytes:,} MiB of messages of 1 KiB, ten a row; the peer's of {min(mebibytes, 256)} MiB",
        [
            *(Side(name, "peak above the state", "of it", values) for name, values in shares.items()),
            *(
                Side(name, "the state in memory", "MiB", [peak.state / 2**20 for peak in peaks])
                for name, peaks in found.items()
            ),
        ],
        [TARGETS["peak"].judge(shares["kernelckpt, base"])],
    )


async def _child(function: str, mebibytes: int) -> Peak:
    found = await asyncio.to_thread(child.call, f"benchmarks.memory:{function}", mebibytes)
    return msgspec.convert(found, Peak)


async def base(mebibytes: Any) -> Peak:
    """A base of a table whose contexts are this large."""
    with tempfile.TemporaryDirectory() as folder:
        hook = MeasuredHook(f"file:{folder}", every=None)
        empty = memory_bytes()
        async with kernel_of(hook) as kernel:
            await populate(kernel, mebibytes * 1024 // 10, 10)
            state = _settled()
            await hook.base()
            return Peak(state - empty, peak_bytes() - state)


async def whole(mebibytes: Any) -> Peak:
    """The same messages, pickled in one piece."""
    empty = memory_bytes()
    messages = _distinct(mebibytes)
    state = _settled()
    pickle.dumps(messages)
    return Peak(state - empty, peak_bytes() - state)


async def put(mebibytes: Any) -> Peak:
    """The same messages, put by the peer."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_saver(Path(folder)) as saver:
            thread = Thread(saver, "t")
            await thread.put(dict_messages(1))
            empty = memory_bytes()
            messages = _distinct(mebibytes)
            state = _settled()
            await thread.put(messages)
            return Peak(state - empty, peak_bytes() - state)


def _distinct(mebibytes: int) -> list[Any]:
    """Messages that share no text, as those of live agents do not."""
    messages = dict_messages(mebibytes * 1024)
    return [
        {"role": "user", "content": item["content"][:-8] + f"{index:8}"}
        for index, item in enumerate(messages)
    ]


def _settled() -> int:
    gc.collect()
    forget_peak()
    return memory_bytes()
