"""Crashes a scenario of agents at every point, and compares what it comes to with the undisturbed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, field
from typing_extensions import override

from kernelckpt import Approval
from kernelckpt.codec.value import dumped
from kernelckpt.errors import UsageError
from kernelckpt.testing.agent_harness import AgentHarness, InDoubt
from kernelckpt.testing.agent_life import Points
from kernelckpt.testing.agent_outcome import Outcome, differences, outcome_of, wrong_counts
from kernelckpt.testing.agent_process import Programs
from kernelckpt.testing.sim_process import SimKilledError

T = TypeVar("T")

Scenario: TypeAlias = Callable[[AgentHarness], Awaitable[Any]]
"""What the outside does: it submits, sends, answers, lets time pass, and outlives the process."""

Trail: TypeAlias = tuple[int, ...]
"""The points of the crashes of one run: of its first life, of its second."""


class NotRepeatableError(AssertionError):
    """The scenario comes to another end, or takes another way, without any crash."""


class CrashDifferenceError(AssertionError):
    """A crash has changed what a scenario comes to.

    Attributes:
        point: where it was: the number of the point, or a tuple of those of one crash after the other.
        label: what that point is.
        expected: what the undisturbed scenario has come to.
        found: what the crashed one has come to; None if it raised.
    """

    def __init__(
        self, point: int | Trail, label: str, expected: Outcome, found: Outcome | None, why: Sequence[str]
    ) -> None:
        """Say where, what, and how to see just that again."""
        lines = "\n".join(f"  {line}" for line in why)
        again = f"crash_everywhere(..., points=[{point!r}]) runs just this one again"
        super().__init__(f"after a crash at point {point}, {label}:\n{lines}\n{again}")
        self.point = point
        self.label = label
        self.expected = expected
        self.found = found


class CrashReport(Struct):
    """How much was explored.

    Attributes:
        points: how many points the undisturbed scenario has.
        runs: how often it was run with crashes.
        second: how many of these had two.
        labels: how many points of each kind a first crash was at.
        outcome: what the scenario comes to.
    """

    points: int
    outcome: Outcome
    runs: int = 0
    second: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{self.points} points, {self.runs} crashed runs, {self.second} of them crashed twice"


async def look_at_the_world(harness: AgentHarness, question: Approval) -> None:
    """Answer as a careful human does: a call that has happened has given its value, else it is made."""
    call = harness.call_of(question)
    if call is None:
        await harness.approve(question)
    else:
        plain = msgspec.msgpack.decode(msgspec.msgpack.encode(call.value, enc_hook=dumped))
        await harness.approve(question, outcome=plain)


async def crash_everywhere(
    programs: Programs | Callable[[], Programs],
    scenario: Scenario,
    *,
    fakes: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None = None,
    deps: Callable[[], Any] | None = None,
    observe: Callable[[AgentHarness], Any] | None = None,
    in_doubt: InDoubt = look_at_the_world,
    check: Callable[[Outcome], None] | None = None,
    second: int = 0,
    points: Sequence[int | Trail] | None = None,
    limit: int = 5_000,
    on_progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> CrashReport:
    """Run a scenario undisturbed, then once for each of its points with a crash there and a restart.

        async def scenario(harness):
            await harness.submit("clerk", task_id="c1")
            await harness.step()
            await harness.approve(*harness.approvals())
            await harness.join("c1")

        report = await crash_everywhere({"clerk": clerk}, scenario, fakes={"pay": "paid"})

    Points are each commit before it is written, each write before it is acknowledged, each acknowledgement,
    and before, after and at the end of each call. The scenario is the outside: it goes on through a crash,
    and does again what it was given no answer to. It awaits nothing but the harness. In the end all must be
    as without a crash: how tasks ended or what they wait for, histories, states, timers fired, what `observe`
    gives, and how often calls were done; those that are idempotent may be repeated under the same keys.

    Args:
        programs: the programs, or a function that makes them anew for each process; see `AgentHarness`.
        scenario: called with a harness that was entered.
        fakes: what stands for the tools; a function is called for each run with what `deps` gave.
        deps: makes for each run what turns have as `turn.deps`: the world that a crash does not touch.
        observe: what else must be the same in the end.
        in_doubt: answers the questions about calls in doubt.
        check: raises if an end is wrong; in place of comparing it, but for calls made too often.
        second: crash also at each of so many first points of the second life, after each first crash.
        points: crash only there: numbers, or tuples of those of one crash after the other.
        limit: the most runs; more are refused, none is left out silently.
        on_progress: told after each run how many are done, and how many there are at most.
        settings: further arguments of `AgentHarness`, as `tools`, and of `Scheduler`.

    Raises:
        CrashDifferenceError: a crash made a difference.
        NotRepeatableError: two runs without a crash differ: the agents depend on time or chance.
        UsageError: there are more runs than `limit`, or no such point.
    """
    trial = _Trial(programs, scenario, fakes, deps, observe, in_doubt, settings)
    expected, (labels, *_) = await trial.run(())
    _refuse_unrepeatable(expected, labels, *await trial.run(()))
    report = CrashReport(len(labels), expected)
    chosen = range(1, len(labels) + 1) if points is None else points
    trails = [_trail(point, len(labels)) for point in chosen]
    most = len(trails) * (1 + second)
    if most > limit:
        hint = "shorten the scenario, raise `limit`, or give some `points`"
        raise UsageError(f"{most} runs for {len(labels)} points, and the limit is {limit}", hint=hint)
    judge = _Judge(expected, labels, check)
    for trail in trails:
        lives = await judge.run(trial, trail, report)
        for again in range(1, min(second, len(lives[1])) + 1 if len(lives) > 1 and second else 0):
            await judge.run(trial, (*trail, again), report)
        if on_progress is not None:
            on_progress(report.runs, most)
    return report


class _Judge:
    """Runs trials, and raises at the first that differs."""

    def __init__(self, expected: Outcome, labels: list[str], check: Callable[[Outcome], None] | None) -> None:
        self._expected = expected
        self._labels = labels
        self._check = check

    async def run(self, trial: _Trial, trail: Trail, report: CrashReport) -> list[list[str]]:
        """Crash once; the labels of the points of each life."""
        shown, label = trail[0] if len(trail) == 1 else trail, self._labels[trail[0] - 1]
        try:
            found, lives = await trial.run(trail)
        except Exception as error:
            why = [f"the scenario raised {type(error).__name__}: {error}"]
            raise CrashDifferenceError(shown, label, self._expected, None, why) from error
        if lives[0] != self._labels[: trail[0]]:
            raise NotRepeatableError(f"on its way to point {shown} the scenario took another way than before")
        why = self._wrong_with(found)
        if why:
            raise CrashDifferenceError(shown, label, self._expected, found, why)
        report.runs += 1
        report.second += len(trail) > 1
        report.labels[label] += len(trail) == 1
        return lives

    def _wrong_with(self, found: Outcome) -> list[str]:
        if self._check is None:
            return differences(self._expected, found)
        try:
            self._check(found)
        except Exception as error:  # noqa: BLE001 - it is the user's function
            return [f"the check raised {type(error).__name__}: {error}"]
        return list(wrong_counts(self._expected, found, may_lack=True))


class _Trial(Struct):
    """Runs the scenario, each time in a world of its own."""

    programs: Programs | Callable[[], Programs]
    scenario: Scenario
    fakes: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None
    deps: Callable[[], Any] | None
    observe: Callable[[AgentHarness], Any] | None
    in_doubt: InDoubt
    settings: Mapping[str, Any]

    async def run(self, trail: Trail) -> tuple[Outcome, list[list[str]]]:
        """What it comes to with these crashes, and the labels of the points of each life."""
        deps = self.deps() if self.deps is not None else None
        fakes = self.fakes(deps) if callable(self.fakes) else self.fakes
        harness = _DyingHarness(
            self.programs, deaths=trail, fakes=fakes, deps=deps, in_doubt=self.in_doubt, **self.settings
        )
        async with harness:
            await self.scenario(harness)
            await harness.step()
            found = outcome_of(harness, self.observe)
            lives = [list(points.labels) for points in harness.points]
        return found, lives


class _DyingHarness(AgentHarness):
    """Dies where it is told to, and is started again at once; calls from outside are made until they succeed.

    Attributes:
        points: the points of each life.
    """

    _listens = False

    def __init__(self, programs: Programs | Callable[[], Programs], *, deaths: Trail, **options: Any) -> None:
        super().__init__(programs, **options)
        self.points: list[Points] = []
        self._deaths = list(deaths)

    @override
    async def restart(self) -> None:
        while self._life is None or self._life.is_dead:
            if self._life is not None:
                await self._life.ended()
            try:
                await super().restart()
            except SimKilledError:
                continue

    @override
    async def crash(self) -> None:
        await self._alive()
        await super().crash()

    @override
    def _next_points(self) -> Points:
        made = Points(self._deaths.pop(0) if self._deaths else None)
        self.points.append(made)
        return made

    @override
    async def _outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            await self._alive()
            try:
                done = await call()
            except SimKilledError:
                continue
            await self._alive()
            return done

    async def _alive(self) -> None:
        if self._life is not None and self._life.is_dead:
            self._life.refuse_unkilled()
            await self.restart()


def _trail(point: int | Trail, count: int) -> Trail:
    trail = (point,) if isinstance(point, int) else tuple(point)
    if not trail or not 1 <= trail[0] <= count or any(number < 1 for number in trail):
        raise UsageError(f"there is no point {point}", hint=f"the scenario has {count} of them, from 1 on")
    return trail


def _refuse_unrepeatable(
    expected: Outcome, labels: list[str], found: Outcome, lives: list[list[str]]
) -> None:
    why = [
        line.replace("with the crash", "the second time") for line in _told(expected, found, labels, lives)
    ]
    if why:
        lines = "\n".join(f"  {line}" for line in why)
        hint = (
            "give agents time and chance through effects, and each run a world of its own (`deps`, `fakes`)"
        )
        raise NotRepeatableError(f"two runs without a crash differ:\n{lines}\n{hint}")


def _told(expected: Outcome, found: Outcome, labels: list[str], lives: list[list[str]]) -> Iterator[str]:
    yield from differences(expected, found)
    for number, (ours, theirs) in enumerate(zip(labels, lives[0], strict=False), 1):
        if ours != theirs:
            yield f"point {number} is {ours!r} undisturbed, {theirs!r} with the crash"
            return
    if len(labels) != len(lives[0]):
        yield f"it has {len(labels)} points undisturbed, {len(lives[0])} with the crash"
