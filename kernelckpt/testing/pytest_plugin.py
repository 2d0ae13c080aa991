"""The plug-in of pytest: fixtures for tests of agents; it imports nothing before one of them is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import kernelckpt.testing

if TYPE_CHECKING:
    from kernelckpt.testing import AgentHarness, ManualClock


class MakeHarness(Protocol):
    """What `agent_harness` gives: makes a harness, to be entered by the test."""

    def __call__(self, programs: Any, **options: Any) -> AgentHarness:
        """See `AgentHarness`."""


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that moves only when the test moves it; that of the harnesses of this test."""
    return kernelckpt.testing.ManualClock()


@pytest.fixture
def agent_harness(manual_clock: ManualClock) -> Iterator[MakeHarness]:
    """A function that makes harnesses, for `async with`; their clock is `manual_clock` unless one is given.

    The fixture is not async, so that it works with whatever runs async tests on asyncio. A harness that was
    entered and is not left fails the test: its tasks would go on in those after it.
    """
    made: list[AgentHarness] = []

    def make(programs: Any, **options: Any) -> AgentHarness:
        made.append(kernelckpt.testing.AgentHarness(programs, **{"clock": manual_clock, **options}))
        return made[-1]

    yield make
    if any(harness.is_entered for harness in made):
        pytest.fail("a harness was entered and not left: use `async with agent_harness(...) as harness`")
