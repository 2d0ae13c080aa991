"""Explores interleavings: several writers on one file system, in every order of their calls."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from kernelckpt.testing.sim_calls import SimFacts
from kernelckpt.testing.sim_fs import SimFileSystem

Actor: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
"""Does its work through the file system's calls that it is given, and waits for nothing else."""

Visible: TypeAlias = Callable[[str, str], bool]
"""Whether others may come between: told the call and the path that it, or the descriptor, was opened by."""


class InterleavingFoundError(AssertionError):
    """Something is wrong after an interleaving; `Interleavings.replay` comes to it again.

    Attributes:
        schedule: who went on at each turn, as digits.
    """

    def __init__(self, schedule: Sequence[int], cause: Exception) -> None:
        """Say which, and what is wrong."""
        self.schedule = "".join(map(str, schedule))
        super().__init__(f"schedule {self.schedule}: {type(cause).__name__}: {cause}")


class _Turn(Struct, frozen=True):
    """One decision: who could have gone on, who did, and whether somebody was interrupted for it."""

    options: tuple[int, ...]
    chosen: int
    last: int
    state: int = 0

    def interrupts(self, chosen: int) -> bool:
        return self.last in self.options and chosen != self.last


class _Stage:
    """Lets actors run in threads of their own, one at a time, in the order of a schedule."""

    def __init__(
        self,
        fs: SimFileSystem,
        actors: Sequence[Actor],
        schedule: Sequence[int],
        *,
        visible: Visible,
        chance: random.Random | None = None,
    ) -> None:
        self.fs = fs
        self.turns: list[_Turn] = []
        self.errors: list[Exception] = []
        self.visible = visible
        self.traces = [0] * len(actors)
        self._schedule = schedule
        self._chance = chance
        self._running = list(range(len(actors)))
        self._signals = [threading.Semaphore(0) for _ in actors]
        self._ended = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._play, args=(number, actor), name=f"actor-{number}", daemon=True)
            for number, actor in enumerate(actors)
        ]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        self._signals[self._next(-1)].release()
        self._ended.acquire()
        for thread in self._threads:
            thread.join()

    def pause(self, number: int) -> None:
        """Let somebody else go on, if it is their turn."""
        following = self._next(number)
        if following != number:
            self._signals[following].release()
            self._signals[number].acquire()

    def _play(self, number: int, actor: Actor) -> None:
        self._signals[number].acquire()
        try:
            _finish(actor(_Calls(self, number)))
        except Exception as error:  # noqa: BLE001 - told by whoever set the stage
            self.errors.append(error)
        self._running.remove(number)
        if self._running:
            self._signals[self._next(number)].release()
        else:
            self._ended.release()

    def _next(self, last: int) -> int:
        options = tuple(self._running)
        at = len(self.turns)
        if at < len(self._schedule):
            chosen = self._schedule[at]
        elif self._chance is not None:
            chosen = self._chance.choice(options)
        else:
            chosen = last if last in options else options[0]
        if chosen not in options:
            self.errors.append(
                RuntimeError(f"actor {chosen} has ended: the actors did not do the same again")
            )
            chosen = options[0]
        state = hash((self.fs.now.key, *self.traces)) if self._chance is None else 0
        self.turns.append(_Turn(options, chosen, last, state))
        return chosen


class _Calls:
    """The file system as one actor has it."""

    def __init__(self, stage: _Stage, number: int) -> None:
        self._stage = stage
        self._number = number
        self._paths: dict[int, str] = {}

    def __getattr__(self, call: str) -> Callable[..., Any]:
        target = getattr(self._stage.fs, call)

        def run(*arguments: Any, **options: Any) -> Any:
            first = arguments[0] if arguments else ""
            path = self._paths.get(first, "") if isinstance(first, int) else first
            if self._stage.visible(call, path):
                self._stage.pause(self._number)
            result: Any = None
            try:
                result = target(*arguments, **options)
            except OSError as error:
                result = error.errno
                raise
            finally:
                self._note(result)
            if call in ("create", "open"):
                self._paths[result] = path
            return result

        return run

    def _note(self, result: Any) -> None:
        """Remember what the actor knows; inodes and times are only ever compared with themselves."""
        if isinstance(result, SimFacts):
            result = (result.kind, result.size)
        traces = self._stage.traces
        traces[self._number] = hash((traces[self._number], repr(result)))


class Interleavings:
    """Runs actors against each other in many orders, and fails at the first that leaves something wrong.

    Attributes:
        runs: how many orders were tried.
        turns: how many decisions they had.
    """

    def __init__(
        self,
        stage: Callable[[], tuple[SimFileSystem, Sequence[Actor]]],
        check: Callable[[SimFileSystem], None],
        *,
        visible: Visible = lambda call, path: True,  # noqa: ARG005
    ) -> None:
        """Run nothing yet.

        Args:
            stage: makes a file system and the actors, the same each time.
            check: raises unless all is well once every actor has ended.
            visible: before which calls others may go on; leave out what nobody else can notice.
        """
        self.runs = 0
        self.turns = 0
        self._stage = stage
        self._check = check
        self._visible = visible

    def explore(self, interruptions: int, *, limit: int | None = None) -> bool:
        """Try every order in which actors are interrupted at most so often.

        An actor that ends, and the beginning, are no interruption. What follows a state that was met
        before, with as many interruptions left, is not tried again.

        Args:
            interruptions: how many, over all actors.
            limit: stop after so many runs.

        Returns:
            Whether all were tried.

        Raises:
            InterleavingFoundError: an actor or the check raised.
        """
        waiting: list[tuple[int, ...]] = [()]
        known: dict[tuple[int, int, tuple[int, ...]], int] = {}
        while waiting:
            if limit is not None and self.runs >= limit:
                return False
            prefix = waiting.pop()
            turns = self._run(prefix)
            used = 0
            for at, turn in enumerate(turns):
                if at >= len(prefix):
                    key = (turn.state, turn.last, turn.options)
                    if known.get(key, interruptions + 1) <= used:
                        break
                    known[key] = used
                    before = tuple(turn.chosen for turn in turns[:at])
                    waiting += [
                        (*before, other)
                        for other in turn.options
                        if other != turn.chosen and used + turn.interrupts(other) <= interruptions
                    ]
                used += turn.interrupts(turn.chosen)
        return True

    def sample(self, runs: int, *, seed: int = 0) -> None:
        """Try so many random orders, with any number of interruptions.

        Raises:
            InterleavingFoundError: an actor or the check raised.
        """
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        for _ in range(runs):
            self._run((), chance)

    def replay(self, schedule: str) -> None:
        """Try the order of a failure.

        Raises:
            InterleavingFoundError: it fails again.
        """
        self._run([int(digit) for digit in schedule])

    def _run(self, schedule: Sequence[int], chance: random.Random | None = None) -> list[_Turn]:
        fs, actors = self._stage()
        stage = _Stage(fs, actors, schedule, visible=self._visible, chance=chance)
        stage.run()
        self.runs += 1
        self.turns += len(stage.turns)
        try:
            for error in stage.errors:
                raise error
            self._check(fs)
        except Exception as error:
            raise InterleavingFoundError([turn.chosen for turn in stage.turns], error) from error
        return stage.turns


def _finish(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("an actor waited for something other than the file system")
