"""A straight-line function comes to the same with crashes as without, and repeats only what it may."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from step_trial import StepTrial, repeatable, scripts


@given(
    script=scripts(),
    deaths=st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=6),
)
@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_function_with_crashes_gives_what_one_without_does(script, deaths):
    plain, crashed = StepTrial(script), StepTrial(script, deaths=deaths)
    wanted, found = asyncio.run(plain.run()), asyncio.run(crashed.run())
    assert (wanted.error, found.error) == ("", "")
    assert found.output == wanted.output
    assert set(crashed.calls) == set(plain.calls)
    assert set(plain.calls.values()) <= {1}
    assert [
        place for place, times in crashed.calls.items() if times > 1 and not repeatable(script, place)
    ] == []
