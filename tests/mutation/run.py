"""Plants one bug at a time into a copy of the package, and fails unless the tests named for it notice.

python tests/mutation/run.py --jobs 2
python tests/mutation/run.py --only "the data of an entry is not synced"
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from mutant import DoesNotApplyError, Mutant
from mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("kernelckpt", "tests", "pyproject.toml")
SECONDS = 30.0
"""Tests that take longer with a bug in the package hang."""

PATIENCE = 300.0
"""Seconds for all the tests, without any bug."""

OPTIONS = (
    *("-x", "-q", "-p", "no:cacheprovider"),
    *("-p", "no:hypothesispytest", "-p", "no:cov"),  # slow to load
    *("-o", "timeout=0"),  # a hang is judged here
)
WHERE = "import kernelckpt; print(kernelckpt.__file__)"

CAUGHT, SURVIVED, EQUIVALENT = "caught", "SURVIVED", "equivalent"
NOT_APPLIED, NO_VERDICT, HUNG, NOT_EQUIVALENT = "did not apply", "NO VERDICT", "HUNG", "NOT EQUIVALENT"
GOOD = {CAUGHT, EQUIVALENT}


class UnfitError(Exception):
    """Nothing can be said of any bug: without one, tests fail, or another package is imported."""


class Outcome(NamedTuple):
    """How tests ended: pytest's exit code, or None for tests that hung, and what they printed."""

    code: int | None
    output: str

    @property
    def failed(self) -> list[str]:
        """The tests that failed; those that could not begin are not among them."""
        lines = self.output.splitlines()
        return [line.split()[1] for line in lines if line.startswith("FAILED ")]


class Verdict(NamedTuple):
    """What became of a mutant, and why."""

    mutant: Mutant
    word: str
    detail: str

    def __str__(self) -> str:
        return f"{self.word:14} {self.mutant.name}" + (f"  ({self.detail})" if self.detail else "")


class Copy:
    """A copy of the package with its tests, in which one bug at a time is planted."""

    def __init__(self, folder: Path) -> None:
        """Copy everything; nothing is compiled yet."""
        self.folder = folder
        self.package = folder / "kernelckpt"
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)

    def check_imported(self) -> None:
        """Raise unless processes started here or elsewhere import this copy."""
        for place in (self.folder, Path("/")):
            found = self._run(["-c", WHERE], place).output.strip()
            if Path(found).parent != self.package:
                raise UnfitError(f"{found} is imported, not the copy in {self.package}")

    def test(self, tests: Iterable[str]) -> Outcome:
        """Run tests, given as pytest is given them, until one fails or hangs."""
        return self._run(["-m", "pytest", *OPTIONS, *tests], self.folder)

    def check(self, named: Sequence[str], share: Sequence[str]) -> None:
        """Raise unless the tests named are there and a share of them passes; compile all for later runs."""
        for chosen in (["--collect-only", *named], share):
            arguments = ["-m", "pytest", *OPTIONS, *chosen]
            outcome = self._run(arguments, self.folder, seconds=PATIENCE, keeps_bytecode=True)
            if outcome.code != 0:
                raise UnfitError(f"without any bug, the tests end with {outcome.code}:\n{outcome.output}")

    @contextmanager
    def with_bug(self, mutant: Mutant) -> Iterator[None]:
        """Plant a bug for a while; no bytecode stays behind that might be taken for that of the file."""
        path = self.package / mutant.file
        text = path.read_text()
        path.write_text(mutant.planted(self.package))
        Path(cache_from_source(path)).unlink(missing_ok=True)
        try:
            yield
        finally:
            path.write_text(text)

    def _run(
        self, arguments: Sequence[str], place: Path, *, seconds: float = SECONDS, keeps_bytecode: bool = False
    ) -> Outcome:
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        if not keeps_bytecode:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its children too
                return Outcome(None, process.communicate()[0])
            return Outcome(process.returncode, output)


def judge(mutant: Mutant, copy: Copy) -> Verdict:
    """Plant a bug, run the tests named for it, take it out again."""
    try:
        with copy.with_bug(mutant):
            return verdict_on(mutant, copy.test(mutant.tests))
    except DoesNotApplyError as error:
        return Verdict(mutant, NOT_APPLIED, str(error))


def verdict_on(mutant: Mutant, outcome: Outcome) -> Verdict:
    """What the tests of a bug say of it; that they could not be run says nothing."""
    if outcome.code is None:
        found = (CAUGHT, "by a test that hung") if mutant.hangs else (HUNG, f"for {SECONDS:.0f} s")
    elif outcome.code == 0:
        found = (EQUIVALENT, mutant.equivalent) if mutant.equivalent else (SURVIVED, "")
    elif outcome.code == 1 and outcome.failed:
        found = (NOT_EQUIVALENT if mutant.equivalent else CAUGHT, f"by {outcome.failed[0]}")
    else:
        found = (NO_VERDICT, f"pytest ended with {outcome.code}:\n{outcome.output[-2000:]}")
    return Verdict(mutant, *found)


def check_unmutated(copies: Sequence[Copy], mutants: Sequence[Mutant], pool: ThreadPoolExecutor) -> None:
    """Raise unless the copies are what is imported, and all tests that mutants name pass without a bug."""
    named = sorted({test for mutant in mutants for test in mutant.tests})
    shares = [named[number :: len(copies)] or named for number in range(len(copies))]

    def check(copy: Copy, share: list[str]) -> None:
        copy.check_imported()
        copy.check(named, share)

    list(pool.map(check, copies, shares))


def run(mutants: Sequence[Mutant], jobs: int, folder: Path) -> list[Verdict]:
    """Judge mutants, so many at a time; verdicts are printed in the order of the table."""
    copies = [Copy(folder / str(number)) for number in range(jobs)]
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def judge_one(mutant: Mutant) -> Verdict:
        copy = free.get()
        try:
            return judge(mutant, copy)
        finally:
            free.put(copy)

    verdicts = []
    with ThreadPoolExecutor(jobs) as pool:
        check_unmutated(copies, mutants, pool)
        for verdict in pool.map(judge_one, mutants):
            print(verdict, flush=True)
            verdicts.append(verdict)
    return verdicts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="plant only bugs whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    mutants = [mutant for mutant in MUTANTS if (given.only or "") in mutant.name]
    if not mutants:
        print(f"no bug is named {given.only!r}")
        return 2
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        try:
            verdicts = run(mutants, max(1, min(given.jobs, len(mutants))), Path(folder))
        except UnfitError as error:
            print(error)
            return 2
    bad = [verdict for verdict in verdicts if verdict.word not in GOOD]
    if bad:
        print("\nSaid again, for it may be far above:", *bad, sep="\n")
    counts = Counter(verdict.word for verdict in verdicts)
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(f"{len(verdicts)} bugs planted: {told}; in {time.perf_counter() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
