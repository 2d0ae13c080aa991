"""The short form of the demonstration: real processes, real kills, a small tree."""

from collections import Counter

import pytest

from kernelckpt.demo.demonstration import Settings, demonstrate
from kernelckpt.demo.lives import Life
from kernelckpt.demo.message import Aim, Moment
from kernelckpt.demo.report import REPORT_NAME
from kernelckpt.demo.verdict import checks

KILLS = [
    Aim(Moment.CALL_NOT_MADE, 2),
    Aim(Moment.CALL_MADE, 4),
    Aim(Moment.RESTORE, 4),
    Aim(Moment.CALLS_DONE, 6),
    Aim(Moment.APPROVAL, 0),
]
BARE_KILLS = [Aim(Moment.CALL_MADE, 3)]


class Silent:
    def __init__(self):
        self.kills = []

    def progress(self, turn, ended):
        pass

    def killed(self, life: Life):
        self.kills.append(life.moment)


@pytest.fixture
async def made(source_tree, tmp_path):
    settings = Settings(source_tree, per_agent=3)
    folder = tmp_path / "work"
    folder.mkdir()
    return await demonstrate(
        settings, folder, lambda *_: Silent(), lambda _, __, bare: BARE_KILLS if bare else KILLS
    )


async def test_the_kernel_comes_through_its_kills_and_bare_asyncio_does_not(made, tmp_path):
    assert [check for check in checks(made) if check.problem] == []
    killed = made.killed
    assert Counter(life.moment for life in killed.lives) == Counter([*(aim.moment for aim in KILLS), None])
    assert killed.missed == []
    assert killed.total(lambda life: life.in_doubt) >= 2
    assert 1 <= killed.total(lambda life: life.arrived) < killed.total(lambda life: life.in_doubt)
    assert killed.finished.turn == made.tree.turns
    assert len(killed.filings) == 4 * 5 * 4 + 1
    assert killed.total(lambda life: life.begun - life.repeated) == made.tree.turns
    assert made.whole.total(lambda life: life.begun) == made.tree.turns
    assert made.whole.total(lambda life: life.repeated) == 0
    assert (tmp_path / "work" / "whole" / REPORT_NAME).read_bytes() == killed.report
    assert b"22 of 22 modules in 5 folders" in killed.report
    assert made.bare.lives[0].moment is Moment.CALL_MADE
    assert max(made.bare.filings.values()) > 1
    assert made.bare.total(lambda life: life.repeated) >= 3
