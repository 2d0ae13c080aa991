"""Memory: the peak while a base of a large state is written, above the state itself."""

from __future__ import annotations

import asyncio

import msgspec

from benchmarks.kit import child
from benchmarks.kit.form import Form
from benchmarks.kit.peak import Peak
from benchmarks.kit.result import Findings, Side, Target
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.saver import PEER

TITLE = "Memory while a base is written"
TARGETS = {
    "peak": Target(
        "peak", "peak during a base of the state, above the state: under 10 %", 0.10, compared=False
    ),
}


async def run(form: Form) -> Findings:
    """Each round of each side is a process of its own."""
    mebibytes = form.of(short=10, full=1024)
    found = await interleaved(
        form.of(short=2, full=3),
        {
            "kernelckpt, base": lambda: _child("benchmarks.sides.peak:base", mebibytes),
            "pickle of the whole state": lambda: _child("benchmarks.sides.peak:whole", mebibytes),
            PEER: lambda: _child("benchmarks.sides.saver:put_peak", min(mebibytes, 256)),
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
    found = await asyncio.to_thread(child.call, function, mebibytes)
    return msgspec.convert(found, Peak)
