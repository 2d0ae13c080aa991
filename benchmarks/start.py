"""Start: what `import kernelckpt` and the command line take, over bare Python."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter

from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, differences
from benchmarks.kit.rounds import interleaved

TITLE = "Starting up"
TARGETS = {
    "import": Target("import", "import kernelckpt: under 120 ms over bare Python", 120.0, "ms"),
    "help": Target("help", "kernelckpt --help: under 300 ms", 300.0, "ms"),
}
_BARE, _IMPORT, _HELP = "bare Python", "import kernelckpt", "kernelckpt --help"
_COMMANDS = {
    _BARE: ("-c", "pass"),
    _IMPORT: ("-c", "import kernelckpt"),
    _HELP: ("-m", "kernelckpt", "--help"),
    "import of LangGraph's saver": ("-c", "import langgraph.checkpoint.sqlite.aio"),
    "import of LangGraph's saver and graph": (
        "-c",
        "import langgraph.checkpoint.sqlite.aio, langgraph.graph",
    ),
}


async def run(form: Form) -> Findings:
    """Start a process for each, round by round; the first round, from a cold cache, does not count."""
    rounds = form.of(short=2, full=15)
    sides = {name: _timer(arguments) for name, arguments in _COMMANDS.items()}
    times = {name: found[1:] for name, found in (await interleaved(rounds + 1, sides)).items()}
    return Findings(
        "a process each, wall time",
        [Side(name, "wall time", "ms", found) for name, found in times.items()],
        [
            TARGETS["import"].judge(differences(times[_IMPORT], times[_BARE])),
            TARGETS["help"].judge(times[_HELP]),
        ],
    )


def _timer(arguments: tuple[str, ...]) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        return await asyncio.to_thread(_milliseconds, arguments)

    return measure


def _milliseconds(arguments: tuple[str, ...]) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (perf_counter() - began) * 1e3
