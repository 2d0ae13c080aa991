"""What a scenario came to, and what differs between two ends of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from kernelckpt import EffectPolicy, Message, Tcb
from kernelckpt.testing.agent_harness import AgentHarness


class Outcome(Struct, frozen=True):
    """The end of a scenario, as far as a crash must not change it.

    Attributes:
        tasks: how each task has ended, or what it waits for.
        histories: what is in the history of each, a message a line.
        states: what each has set as its state.
        counts: how often each call has returned, by task, name and arguments.
        repeatable: those of them that were declared idempotent.
        keys: under how many idempotency keys each was made.
        timers: how many timers of each task have fired.
        observed: what the test itself has looked at.
    """

    tasks: dict[str, str]
    histories: dict[str, list[str]]
    states: dict[str, Any]
    counts: dict[str, int]
    repeatable: frozenset[str]
    keys: dict[str, int]
    timers: dict[str, int]
    observed: Any = None


def outcome_of(harness: AgentHarness, observe: Callable[[AgentHarness], Any] | None) -> Outcome:
    """What a scenario has come to."""
    ids = sorted(row.id for row in harness.kernel.tasks)
    keys: dict[str, set[str]] = {}
    repeatable = set()
    for call in harness.calls:
        name = f"{call.task_id}: {call.shown}"
        keys.setdefault(name, set()).add(call.key)
        if call.policy == EffectPolicy.IDEMPOTENT:
            repeatable.add(name)
    return Outcome(
        {task_id: _standing(harness.task(task_id)) for task_id in ids},
        {task_id: [_line(message) for message in harness.messages(task_id)] for task_id in ids},
        {task_id: harness.state(task_id) for task_id in ids},
        harness.counts(),
        frozenset(repeatable),
        {name: len(found) for name, found in keys.items()},
        dict(harness.timers.counts()),
        observe(harness) if observe is not None else None,
    )


def differences(expected: Outcome, found: Outcome) -> list[str]:
    """What a crash has changed, in words; nothing if all is as it should be."""
    return [
        *_differing("the end of", expected.tasks, found.tasks),
        *_differing("the history of", expected.histories, found.histories),
        *_differing("the state of", expected.states, found.states),
        *_differing("timers fired for", expected.timers, found.timers),
        *wrong_counts(expected, found),
        *_differing("what was", {"observed": expected.observed}, {"observed": found.observed}),
    ]


def wrong_counts(expected: Outcome, found: Outcome, *, may_lack: bool = False) -> Iterator[str]:
    """The calls that were made too often, or not often enough.

    Args:
        expected: the undisturbed end.
        found: the other one.
        may_lack: whether calls may have been left out.
    """
    repeatable = expected.repeatable | found.repeatable
    for name in sorted(expected.counts.keys() | found.counts.keys()):
        once, count = expected.counts.get(name, 0), found.counts.get(name, 0)
        if name in repeatable and expected.keys.get(name, 0) not in {0, found.keys.get(name, 0)}:
            yield f"{name} was made under {found.keys.get(name, 0)} keys, not {expected.keys[name]}"
        is_too_often = count > once and (name not in repeatable or not once)
        if is_too_often or (count < once and not may_lack):
            yield f"{name} was done {_times(once)} undisturbed, {_times(count)} with the crash"


def _differing(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get(name), found.get(name)
        if ours != theirs:
            yield f"{what} {name}: {ours!r} undisturbed, {theirs!r} with the crash"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _standing(row: Tcb) -> str:
    result = row.result
    if row.proc is not None and row.proc.result is not None:
        result = row.proc.result.result
    if result is None:
        return f"{row.state.label()}, waiting for {row.wait.label()}" if row.wait else row.state.label()
    shown = f"{result.termination.value} {result.text!r}"
    shown += f", output {result.output!r}" if result.output is not None else ""
    return shown + (f", error {result.error!r}" if result.error else "")


def _line(message: Message) -> str:
    calls = "".join(f" {call.name}({call.arguments!r})" for call in message.tool_calls)
    return f"{message.role.value}: {message.text}{calls}"
