"""The chat agent talks to a server of its own, is killed, and pays for each model call once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from chat_server import USAGE
from chat_trial import EXAMPLE, TOTALS, asked, cost_of, model_server, run_trial, tokens_of
from test_examples import output_of, running


@pytest.mark.parametrize(("answer", "booked"), [("approve", "Zum Goldenen Adler, 2\n"), ("deny", "")])
async def test_it_goes_as_far_as_it_may_and_books_when_it_is_allowed(
    tmp_path: Path, answer: str, booked: str
) -> None:
    async with model_server() as url:
        for _ in range(2):
            first = await output_of(tmp_path, "chat_agent.py", OPENAI_BASE_URL=url)
            steps = [step for step in USAGE if step != "planner 1"]
            question, totals = first.splitlines()[-2:]
            assert question.startswith("asked: book needs a human's word")
            assert totals == f"{tokens_of(steps)} tokens, {cost_of(steps)} micros"
        path = tmp_path / "booked.txt"
        assert not path.exists()
        for _ in range(2):
            last = await output_of(tmp_path, "chat_agent.py", answer, OPENAI_BASE_URL=url)
            assert last.splitlines()[-2:] == ["trip: All set. <6> ", TOTALS]
        assert (path.read_text() if path.exists() else "") == booked
        assert sorted(await asked(url)) == sorted(USAGE)


@pytest.mark.parametrize(
    ("step", "who", "word"), [("weather 0", "trip/chat-1", "look"), ("planner 0", "trip", "book")]
)
async def test_an_answer_cut_off_by_a_kill_is_taken_back_and_asked_for_again(
    tmp_path: Path, step: str, who: str, word: str
) -> None:
    async with model_server(HELD=step) as url:
        async with running(tmp_path, str(EXAMPLE), OPENAI_BASE_URL=url) as example:
            await example.until(f"{who}> {word} ")
            await example.end(signal.SIGKILL)
        rest = await output_of(tmp_path, "chat_agent.py", "approve", OPENAI_BASE_URL=url)
        shown = [line for line in rest.splitlines() if line.startswith(f"{who}> ")]
        assert shown[:2] == [f"{who}> (taken back)", f"{who}> I "]
        assert rest.splitlines()[-1] == TOTALS
        log = await asked(url)
        assert log.count(step) == 2
        assert set(log) == set(USAGE)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_killed_again_and_again_no_recorded_call_is_made_twice_and_the_totals_add_up(
    tmp_path: Path, seed: int
) -> None:
    trial = await run_trial(tmp_path, seed)
    assert trial.kills > 0
