"""What stands for the tools of an agent in a test: answers by name, and a record of every call."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kernelckpt import NotDone, Tool, tool

KEY = "idempotency_key"
"""A fake with a parameter of this name is given the key, as a tool is."""

PROBE = "the probe of "
"""What the name of a tool's probe begins with; a fake of that name stands for it."""


class FakeCall(Struct):
    """A call that has reached the outside world: a crash takes none of it back.

    Attributes:
        name: the tool's or function's name.
        args: its positional arguments.
        kwargs: its named arguments.
        key: its idempotency key; "" for a function that takes none.
        task_id: whose call it is.
        number: under which number the ledger keeps it.
        run: the how manieth time this call was begun.
        policy: what may be done when it is in doubt, as "ask".
        done: whether it has returned, there; the agent need not have heard of it.
        value: what it returned.
        error: what it raised.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    key: str = ""
    task_id: str = ""
    number: int = 0
    run: int = 1
    policy: str = "ask"
    done: bool = False
    value: Any = None
    error: BaseException | None = None

    @property
    def shown(self) -> str:
        """Its name and arguments, as one would write them."""
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.name}({', '.join(given)})"


class UnansweredError(AssertionError):
    """A tool was called that the test has no fake for, or none for this call."""


class Answers:
    """One answer for each call, in their order; after the last the test fails.

    A call that has returned and is repeated after a crash, as idempotent ones are, is answered as before.

        fakes={"ask_model": Answers("hello", TimeoutError("busy"), lambda prompt: prompt.upper())}
    """

    def __init__(self, *answers: Any) -> None:
        """Each is a value, an exception to raise, or a function to call."""
        self._given = answers
        self._left: Iterator[Any] = iter(answers)

    def take(self, name: str) -> Any:
        """The next answer.

        Raises:
            UnansweredError: there is none left.
        """
        try:
            return next(self._left)
        except StopIteration:
            message = f"the fake of {name!r} was called more often than its {len(self._given)} answers"
            raise UnansweredError(message) from None

    def anew(self) -> Answers:
        """The same answers from the first on, for another world."""
        return Answers(*self._given)


class Fakes:
    """The fakes of one world, and what was called there.

    Attributes:
        calls: all calls, in the order in which they reached the world.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        """Take answers by name: a value, an exception to raise, a function to call, or `Answers`."""
        self.calls: list[FakeCall] = []
        self._answers = {
            name: answer.anew() if isinstance(answer, Answers) else answer for name, answer in answers.items()
        }

    async def answer(self, call: FakeCall) -> Any:
        """Let a call happen: give what it returns, or raise what it raises.

        Raises:
            UnansweredError: nothing stands for the tool; a test must not call the real one unawares.
        """
        if call.name not in self._answers:
            if call.name.startswith(PROBE):
                return self._looked_up(call)
            known = ", ".join(sorted(self._answers)) or "none"
            advice = f"give fakes={{{call.name!r}: ...}}, the function itself if it is harmless"
            raise UnansweredError(f"{call.shown} was called and has no fake: {advice}; known: {known}")
        answer = self._answers[call.name]
        if isinstance(answer, Answers):
            before = self.made(call.task_id, call.number)
            answer = answer.take(call.name) if before is None else before.value
        if isinstance(answer, BaseException) or (
            inspect.isclass(answer) and issubclass(answer, BaseException)
        ):
            raise answer
        function = answer.fn if isinstance(answer, Tool) else answer
        if not callable(function):
            return function
        given = {KEY: call.key} if _takes_key(function) else {}
        value = function(*call.args, **call.kwargs, **given)
        return await value if inspect.isawaitable(value) else value

    def _looked_up(self, probe: FakeCall) -> Any:
        """What an honest probe finds: the value of the call, if it has happened."""
        found = self.made(probe.task_id, probe.number)
        return NotDone() if found is None else found.value

    def made(self, task_id: str, number: int, run: int | None = None) -> FakeCall | None:
        """The newest call under a number that has returned, of one run if that is given; or None."""
        for call in reversed(self.calls):
            is_it = (call.task_id, call.number) == (task_id, number) and run in {None, call.run}
            if is_it and call.done and not call.name.startswith(PROBE):
                return call
        return None

    def counts(self) -> Counter[str]:
        """How often each call has returned, by task, name and arguments; probes are none."""
        done = (call for call in self.calls if call.done and not call.name.startswith(PROBE))
        return Counter(f"{call.task_id}: {call.shown}" for call in done)


def tools_for(tools: Sequence[Any], answers: Mapping[str, Any]) -> list[Any]:
    """The tools a scheduler is given: those declared, and one for each other name that has a fake."""
    declared = [item if isinstance(item, Tool) else tool(item) for item in tools]
    names = {item.name for item in declared}
    added = [answer for name, answer in answers.items() if isinstance(answer, Tool) and answer.name == name]
    declared += [item for item in added if item.name not in names]
    names |= {item.name for item in declared}
    return [*declared, *(_undeclared(name) for name in answers if name not in names and PROBE not in name)]


def _undeclared(name: str) -> Tool:
    async def stub(*, idempotency_key: str, **arguments: Any) -> Any:
        """Stand for a tool that the test did not declare; another function makes its calls."""

    return tool(name=name)(stub)


def _takes_key(function: Callable[..., Any]) -> bool:
    try:
        return KEY in inspect.signature(function).parameters
    except (TypeError, ValueError):  # one that is built in
        return False
