"""A small race of processes, and that the script sees what would be wrong."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import race

pytestmark = pytest.mark.servers


def test_a_race_on_postgresql(postgres_server):
    url = postgres_server.url(f"s{uuid.uuid4().hex}")
    script = Path(race.__file__)
    done = subprocess.run(
        [sys.executable, script, url, "--processes", "6", "--rounds", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "0 faults" in done.stdout


A, B = [1, 1, "a"], [2, 1, "b"]


@pytest.mark.parametrize(
    ("outcomes", "found", "said"),
    [
        ([([A], "finished"), ([A], "finished")], [A], "2 times"),
        ([([A, B], "finished")], [A], "lost"),
        ([([A], "FencedError")], [A, B], "never acknowledged"),
        ([([B], "finished")], [B], "gaps"),
        ([([A, [2, 3, "c"], [3, 2, "d"]], "finished")], [A, [2, 3, "c"], [3, 2, "d"]], "older epoch"),
        ([([A], "finished"), ([], "StorageUnavailableError: gone")], [A], "ended by"),
    ],
)
def test_what_is_off_is_said(outcomes, found, said):
    outcomes = [{"acknowledged": done, "doubtful": [], "end": end} for done, end in outcomes]
    assert [said in fault for fault in race.faults(outcomes, found)] == [True]


def test_what_is_in_doubt_may_be_there_or_not():
    outcome = {"acknowledged": [A], "doubtful": [B], "end": "UnknownOutcomeError: no answer"}
    assert list(race.faults([outcome], [A])) == []
    assert list(race.faults([outcome], [A, B])) == []
