"""Stall: how long a checkpoint of 100 changed rows holds the event loop, whatever the size of the table."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from benchmarks.kit import child
from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, differences, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.kit.stall import Stall

TITLE = "How long a checkpoint holds the event loop"
OURS, PEER = "benchmarks.sides.stall:", "benchmarks.sides.saver:"
CHANGED = 100
SMALL_ROWS = 1000
TARGETS = {
    "hold": Target("hold", "time the hook holds the loop, by its own timer: p99 under 1 ms", 1.0, "ms"),
    "gap": Target("gap", "longest heartbeat gap over idle: under 5 ms", 5.0, "ms"),
    "flat": Target("flat", "hold, p99, over the same at 1,000 rows: within 1.5 times", 1.5, compared=False),
}


async def run(form: Form) -> Findings:
    """Checkpoint a large and a small table in turn, beside saves of a whole state by the peer."""
    rows = form.of(short=5_000, full=100_000)
    rounds, checkpoints = form.of(short=(2, 15), full=(5, 100))
    stalls = await interleaved(
        rounds,
        {
            "large": lambda: _child(OURS + "checkpoints", [rows, checkpoints]),
            "small": lambda: _child(OURS + "checkpoints", [SMALL_ROWS, checkpoints]),
            "dicts": lambda: _child(PEER + "put_dicts", rows),
            "objects": lambda: _child(PEER + "put_objects", rows),
            "pickle": lambda: _child(OURS + "pickle_whole", rows),
            "msgspec": lambda: _child(OURS + "encode_whole", rows),
        },
    )
    return _findings(rows, checkpoints, stalls)


async def _child(side: str, argument: Any) -> Stall:
    return msgspec.convert(await asyncio.to_thread(child.call, side, argument), Stall)


def _findings(rows: int, checkpoints: int, stalls: dict[str, list[Stall]]) -> Findings:
    large, small = stalls["large"], stalls["small"]
    over_idle = differences([one.gap for one in large], [one.idle for one in large])
    size = f"{rows:,} rows"
    sides = [
        Side(f"kernelckpt, {size}", "hold, p99", "ms", [one.hold for one in large]),
        Side(f"kernelckpt, {size}", "hold, longest", "ms", [one.hold_max for one in large]),
        Side(f"kernelckpt, {size}", "heartbeat gap, longest", "ms", [one.gap for one in large]),
        Side("nobody", "heartbeat gap when idle, longest", "ms", [one.idle for one in large]),
        Side("kernelckpt, 1,000 rows", "hold, p99", "ms", [one.hold for one in small]),
        Side("kernelckpt, 1,000 rows", "heartbeat gap, longest", "ms", [one.gap for one in small]),
        *(
            Side(side, "heartbeat gap, longest", "ms", [one.gap for one in stalls[key]])
            for side, key in _PEERS
        ),
    ]
    return Findings(
        f"{rows:,} rows with {rows / 1024:,.0f} MiB of context, {CHANGED} rows changed per checkpoint, "
        f"{checkpoints} checkpoints a round; the peer puts the same {rows / 1024:,.0f} MiB once a round",
        sides,
        [
            TARGETS["hold"].judge([one.hold for one in large]),
            TARGETS["gap"].judge(over_idle),
            TARGETS["flat"].judge(ratios([one.hold for one in large], [one.hold for one in small])),
        ],
    )


_PEERS = (
    ("LangGraph saver, dicts", "dicts"),
    ("LangGraph saver, its messages", "objects"),
    ("pickle of the whole state", "pickle"),
    ("msgspec of the whole state, one call", "msgspec"),
)
