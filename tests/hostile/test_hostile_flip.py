"""The short form of `flip.py`, every third bit and length; the long one, every one, is `make fuzz`."""

import pytest
from flip import damages, fault, judge_all
from hostile_kit import Outcome, write_small_run


@pytest.mark.may_block
async def test_flips_and_cuts_are_refused_or_give_a_state_that_was(tmp_path):
    counts, faults = await judge_all(tmp_path / "state", every=3)
    assert faults == []
    assert set(counts) >= {
        "refuse: CorruptionError",
        "refuse: a state",
        "fall back: a state",
        "posted: damaged",
    }
    assert counts["refuse: CorruptionError"] > 5_000


async def test_what_the_judge_calls_a_fault(tmp_path):
    run = await write_small_run(tmp_path / "state")
    newest, older = run.good[run.newest], run.good[run.newest - 1]
    assert fault(run, Outcome(newest), {run.newest}) == ""
    assert fault(run, Outcome(older), {run.newest}) == "checkpoint 4 without a word"
    assert fault(run, Outcome(older, ("left out",)), {run.newest}) == ""
    assert fault(run, Outcome(newest.replace("one", "two")), {run.newest}) == "a state that never was"


async def test_every_bit_and_every_length_is_tried_when_asked_for(tmp_path):
    run = await write_small_run(tmp_path / "state")
    size = run.segment.stat().st_size
    tried = {damage.data for damage in damages(run.segment, 1)}
    assert len(tried) == size * 8 + size
