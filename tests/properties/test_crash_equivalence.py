"""A run with crashes ends in the state, and with the effects, of the same run without."""

import asyncio
from collections import Counter

from crash_program import scripts
from crash_trial import Trial, excess_of, normal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@given(
    roots=st.lists(scripts(), min_size=1, max_size=3),
    deaths=st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=5),
    max_concurrency=st.sampled_from([None, 1, 2]),
    bases=st.booleans(),
    sealed=st.booleans(),
)
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_run_with_crashes_ends_like_one_without(roots, deaths, max_concurrency, bases, sealed):
    plain = Trial(roots, max_concurrency=max_concurrency, bases=bases)
    crashed = Trial(roots, deaths=deaths, max_concurrency=max_concurrency, bases=bases, sealed=sealed)
    wanted = asyncio.run(plain.run())
    found = asyncio.run(crashed.run())
    assert normal(found) == normal(wanted)
    assert excess_of(wanted) == {}
    assert excess_of(found) == crashed.excess
    assert set(crashed.world.done) == set(plain.world.done)
    assert max(Counter(plain.world.done).values(), default=1) == 1
    repeated = [key for key, times in Counter(crashed.world.done).items() if times > 1]
    assert all(key.startswith("idempotent") for key in repeated)
