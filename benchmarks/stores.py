"""Every storage: durable turns per second and stall, beside the peer's savers on the same stores."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

import msgspec

from benchmarks.kit import child
from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, differences, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.kit.stall import Stall
from benchmarks.sides.saver import PEER, POSTGRES_PEER, open_postgres_saver, step_rate
from benchmarks.throughput import STATE_MESSAGES, Speed, ours_at, saver

TITLE = "Storages on servers and in files"
SERVERS = {
    "PostgreSQL": ("KERNELCKPT_POSTGRES", "&schema="),
    "Redis": ("KERNELCKPT_REDIS", "&prefix="),
    "object store": ("KERNELCKPT_OBJECTS", "/"),
}
"""The environment variable that holds each server's URL, and how a store of its own is named in it."""

FILES = {"file": "file:", "SQLite": "sqlite:"}
TARGETS = {
    "sqlite": Target(
        "sqlite", "SQLite: at least 10 times the peer's saver", 10, at_most=False, compared=False
    ),
    "postgres": Target(
        "postgres", "PostgreSQL: at least 10 times the peer's saver on it", 10, at_most=False, compared=False
    ),
}


async def run(form: Form) -> Findings:
    """Let all sides run, round by round; the servers run already."""
    _require_servers()
    agents, turns, steps = form.of(short=(200, 5, 1), full=(1000, 10, 2))
    rows, checkpoints = form.of(short=(2_000, 10), full=(20_000, 30))
    rounds = form.of(short=2, full=5)
    every: tuple[str, ...] = (*FILES, *SERVERS)
    turning: dict[str, Callable[[], Awaitable[Speed]]] = {
        **{store: partial(_ours, store, agents, turns) for store in every},
        PEER: partial(saver, agents, steps),
        POSTGRES_PEER: partial(_postgres_saver, agents, steps),
    }
    stalling: dict[str, Callable[[], Awaitable[Stall]]] = {
        **{store: partial(_stall, store, rows, checkpoints) for store in every},
        PEER: partial(_child, "benchmarks.sides.saver:put_dicts", rows),
        POSTGRES_PEER: partial(_postgres_stall, rows),
    }
    speeds = await interleaved(rounds, turning)
    stalls = await interleaved(rounds, stalling)
    return _findings(agents, turns, rows, speeds, stalls)


def _require_servers() -> None:
    missing = [variable for variable, _ in SERVERS.values() if not os.environ.get(variable)]
    if missing:
        sys.exit(f"{', '.join(missing)}: not set; `make bench-servers` starts servers and sets them")


def _server_url(store: str) -> str:
    return os.environ[SERVERS[store][0]]


def _url(store: str, folder: str) -> str:
    """The URL of an empty store of this kind."""
    if store in FILES:
        return f"{FILES[store]}{folder}/store"
    url, own = _server_url(store), SERVERS[store][1]
    name = f"bench{uuid4().hex[:12]}"
    path, mark, options = url.partition("?")
    if own == "/":
        return f"{path}/{name}{mark}{options}"
    return f"{url}{own if mark else own.replace('&', '?')}{name}"


async def _ours(store: str, agents: int, turns: int) -> Speed:
    with tempfile.TemporaryDirectory() as folder:
        return await ours_at(_url(store, folder), agents, turns)


async def _stall(store: str, rows: int, checkpoints: int) -> Stall:
    with tempfile.TemporaryDirectory() as folder:
        work = [_url(store, folder), rows, checkpoints]
        return await _child("benchmarks.sides.stall:checkpoints_at", work)


async def _postgres_stall(rows: int) -> Stall:
    return await _child("benchmarks.sides.saver:put_to_postgres", [_server_url("PostgreSQL"), rows])


async def _child(side: str, argument: object) -> Stall:
    return msgspec.convert(await asyncio.to_thread(child.call, side, argument), Stall)


async def _postgres_saver(threads: int, steps: int) -> Speed:
    async with open_postgres_saver(_server_url("PostgreSQL")) as opened:
        return Speed(await step_rate(opened, threads, steps, STATE_MESSAGES), 0.0)


def _findings(
    agents: int, turns: int, rows: int, speeds: dict[str, list[Speed]], stalls: dict[str, list[Stall]]
) -> Findings:
    rates = {store: [speed.rate for speed in found] for store, found in speeds.items()}
    over_idle = {
        store: differences([one.gap for one in found], [one.idle for one in found])
        for store, found in stalls.items()
    }
    return Findings(
        f"{agents:,} agents say 1 KiB in each of {turns} turns, every turn durable; a step of the peer saves "
        f"{STATE_MESSAGES} KiB. Stall: {rows:,} rows, 100 changed per checkpoint; the peer puts all of them "
        "once. Servers on the same machine, over loopback",
        [
            *(Side(store, "turns", "1/s", found) for store, found in rates.items()),
            *(
                Side(store, "turns per entry", "", [speed.grouped for speed in speeds[store]])
                for store in (*FILES, *SERVERS)
            ),
            *(
                Side(store, "longest heartbeat gap over idle", "ms", found)
                for store, found in over_idle.items()
            ),
        ],
        [
            TARGETS["sqlite"].judge(ratios(rates["SQLite"], rates[PEER])),
            TARGETS["postgres"].judge(ratios(rates["PostgreSQL"], rates[POSTGRES_PEER])),
        ],
    )
