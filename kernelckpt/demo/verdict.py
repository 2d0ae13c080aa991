"""Whether the runs came out the same, and the figures that are shown side by side."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, zip_longest

from msgspec import Struct

from kernelckpt.demo.demonstration import Demonstration
from kernelckpt.demo.lives import Life, Run

_SHOWN = 5


class Check(Struct, frozen=True):
    """Something that must hold.

    Attributes:
        name: what.
        problem: empty, or in what way it does not hold.
    """

    name: str
    problem: str = ""


class Figures(Struct, frozen=True):
    """What one run took.

    Attributes:
        agents: agents sent out, and the root.
        needed: turns that the survey takes.
        begun: turns that were begun.
        repeated: those begun more than once, each further time.
        lost: turns that were committed and gone after a kill.
        kills: kills.
        missed: kills whose moment never came.
        findings: different findings filed.
        twice: findings filed more than once.
        in_doubt: filings that a human had to decide on.
        arrived: those among them that had arrived.
        tokens: tokens spent in the lives that counted them.
        checkpoints: checkpoints written; bases: those that were bases.
        bytes_written: what was written, bases too, as far as each life had said.
        restore_seconds: how long each restore took.
        longest_hold_seconds: the longest time the hook held the event loop.
        seconds: wall time of the run, all starts of the process too.
    """

    agents: int
    needed: int
    begun: int
    repeated: int
    lost: int
    kills: int
    missed: list[str]
    findings: int
    twice: int
    in_doubt: int
    arrived: int
    tokens: int
    checkpoints: int
    bases: int
    bytes_written: int
    restore_seconds: list[float]
    longest_hold_seconds: float
    seconds: float

    @property
    def bytes_per_turn(self) -> int:
        """Bytes written for each turn needed."""
        return self.bytes_written // self.needed


def checks(made: Demonstration) -> list[Check]:
    """What must hold, and whether it does."""
    killed, whole = made.killed, made.whole
    one, other = killed.finished, whole.finished
    return [
        Check("both runs ended well", one.problem or other.problem),
        Check("reports byte-identical", _report_problem(killed.report, whole.report)),
        _same("turns equal", one.turn, other.turn),
        _same("tokens equal", one.tokens, other.tokens),
        _same("every agent's history and result identical", one.digest, other.digest),
        Check("findings filed once each", _filing_problem(killed.filings, whole.filings)),
    ]


def figures(run: Run, *, agents: int, needed: int) -> Figures:
    """What a run took."""
    lives = run.lives
    usages = [life.usage for life in lives]
    return Figures(
        agents=agents,
        needed=needed,
        begun=run.total(lambda life: life.begun),
        repeated=run.total(lambda life: life.repeated),
        lost=sum(lost_turns(lives)),
        kills=sum(life.moment is not None for life in lives),
        missed=[moment.value for moment in run.missed],
        findings=len(run.filings),
        twice=sum(count > 1 for count in run.filings.values()),
        in_doubt=run.total(lambda life: life.in_doubt),
        arrived=run.total(lambda life: life.arrived),
        tokens=run.finished.tokens,
        checkpoints=run.finished.checkpoints,
        bases=sum(usage.bases for usage in usages),
        bytes_written=sum(usage.bytes_written + usage.base_bytes for usage in usages),
        restore_seconds=[life.restored.seconds for life in lives if life.restored is not None],
        longest_hold_seconds=max(usage.longest_hold_seconds for usage in usages),
        seconds=run.seconds,
    )


def lost_turns(lives: list[Life]) -> Iterator[int]:
    """For each kill, how many of the turns that had been committed were gone afterwards."""
    committed = 0
    for life, after in pairwise(lives):
        committed = max(committed, life.turn)
        if after.begun == 0 and after.restored is None:
            yield 0  # killed again before it came back: counted at the next kill
            continue
        left = after.restored.turn if after.restored is not None else 0
        yield max(0, committed - left)
        committed = left


def _same(name: str, one: object, other: object) -> Check:
    return Check(name, "" if one == other else f"{one} with kills, {other} without")


def _report_problem(killed: bytes, whole: bytes) -> str:
    if killed == whole:
        return "" if whole else "there is none"
    lines = zip_longest(killed.splitlines(), whole.splitlines())
    number = next((n for n, (one, other) in enumerate(lines, 1) if one != other), 0)
    return f"they differ from line {number} on"


def _filing_problem(killed: dict[str, int], whole: dict[str, int]) -> str:
    wrong = [
        f"{finding!r}: {killed.get(finding, 0)} and {whole.get(finding, 0)} times"
        for finding in sorted(killed.keys() | whole.keys())
        if killed.get(finding) != 1 or whole.get(finding) != 1
    ]
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more
