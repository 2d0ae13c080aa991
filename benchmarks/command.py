"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec

from benchmarks.compare import compare, record
from benchmarks.kit.form import Form
from benchmarks.kit.machine import machine
from benchmarks.kit.result import Findings, Result
from benchmarks.page import write_page
from benchmarks.table import outcome_table, side_table

NAMES = (
    "stall",
    "stall_base",
    "conversation",
    "throughput",
    "slow_disk",
    "latency",
    "effects",
    "kernel",
    "restore",
    "listing",
    "back_pressure",
    "memory",
    "start",
    "growth",
)
NEED_SERVERS = ("stores",)
"""Run when named only: `make bench-servers` starts what they need."""

RESULTS = Path(__file__).parent / "results"
_ACTIONS = {
    "page": "write docs/performance.md and its plots from the results",
    "record": "keep the ratios of the results for `compare`, or what is recorded already where that is worse",
    "compare": "fail where a ratio is 40 % worse than the recorded one",
}


_AGAIN = 2
"""How often a ratio that fell is measured again."""


def main() -> None:
    """Run what is named; in the full form every benchmark has a process of its own."""
    options = _options()
    results = Path(options.results)
    for action in [name for name in options.names if name in _ACTIONS]:
        _act(action, results)
    names = [name for name in options.names if name not in _ACTIONS]
    if len(names) == 1:
        _run(names[0], Form(options.full), results, as_json=options.json)
    elif names or not options.names:
        _run_each(names or NAMES, results, options)


def _options() -> argparse.Namespace:
    actions = "; ".join(f"{name}: {what}" for name, what in _ACTIONS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=actions)
    known = (*NAMES, *NEED_SERVERS, *_ACTIONS)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(NAMES)}: all of these by default; {', '.join(NEED_SERVERS)}",
    )
    parser.add_argument("--full", action="store_true", help="the sizes of the targets, in many minutes")
    parser.add_argument("--short", dest="full", action="store_false", help="small sizes (the default)")
    parser.add_argument("--json", action="store_true", help="print the result, write no file")
    parser.add_argument("--results", default=str(RESULTS), help="the folder of the results")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"there is no {name!r}: {', '.join(known)}")
    return options


def _run_each(names: tuple[str, ...] | list[str], results: Path, options: argparse.Namespace) -> None:
    if not options.full:  # a process takes a second to start, and the whole short form not a minute
        for name in names:
            _run(name, Form(), results, as_json=options.json)
        return
    for name in names:
        json = ["--json"] if options.json else []
        command = [sys.executable, "-m", "benchmarks", name, "--full", "--results", str(results), *json]
        subprocess.run(command, check=True)


def _run(name: str, form: Form, results: Path, *, as_json: bool) -> None:
    result = measure(name, form)
    data = msgspec.json.format(msgspec.json.encode(result), indent=1)
    if as_json:
        print(data.decode())
        return
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_bytes(data + b"\n")
    print(f"\n## {result.title} ({name}, {result.form} form, {result.seconds:.0f} s)\n\n{result.work}\n")
    print(side_table(result) + "\n\n" + outcome_table([result]), flush=True)


def measure(name: str, form: Form) -> Result:
    """Run one benchmark in this process."""
    module = importlib.import_module(f"benchmarks.{name}")
    facts, began = machine(), perf_counter()
    found: Findings = asyncio.run(module.run(form))
    return Result(
        name=name,
        title=module.TITLE,
        form=form.name,
        date=datetime.now(UTC).date().isoformat(),
        seconds=round(perf_counter() - began, 1),
        machine=facts,
        work=found.work,
        sides=found.sides,
        outcomes=found.outcomes,
        curves=found.curves,
    )


def read_results(folder: Path) -> list[Result]:
    """The results of a folder, in the order of the benchmarks."""
    paths = [folder / f"{name}.json" for name in (*NAMES, *NEED_SERVERS)]
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in paths if path.exists()]


def _act(action: str, folder: Path) -> None:
    results = read_results(folder)
    if action == "page":
        write_page(results)
    elif action == "record":
        record(results)
    else:
        _compare(results, folder)


def _compare(results: list[Result], folder: Path) -> None:
    """What fell is measured again, for a busy moment of the machine is no regression; then it counts."""
    worse = compare(results)
    for _ in range(_AGAIN):
        for name in dict.fromkeys(key.partition("/")[0] for key in worse):
            _run(name, Form(), folder, as_json=False)
        worse = compare(read_results(folder)) if worse else worse
    if worse:
        sys.exit("\n".join(worse.values()))
