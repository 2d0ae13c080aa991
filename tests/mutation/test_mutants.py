"""The table of planted bugs fits the code, and what a run of it says is what its tests said."""

from collections import Counter
from pathlib import Path

import pytest
from mutant import DoesNotApplyError, Mutant
from mutants import MUTANTS
from run import CAUGHT, EQUIVALENT, HUNG, NO_VERDICT, NOT_EQUIVALENT, ROOT, SURVIVED, Outcome, verdict_on

import kernelckpt

PACKAGE = Path(kernelckpt.__file__).parent
INHERITED = "".join(path.read_text() for path in sorted(PACKAGE.glob("testing/conformance*.py")))
"""Tests of storages, which their test classes inherit."""


def test_each_bug_can_be_planted():
    """One that cannot names itself; else the table would rot while the code goes on."""
    for mutant in MUTANTS:
        mutant.planted(PACKAGE)


def test_no_two_bugs_are_one():
    names, changes = Counter(m.name for m in MUTANTS), Counter((m.file, m.old, m.new) for m in MUTANTS)
    assert max(names.values()) == max(changes.values()) == 1


def test_the_tests_named_are_there():
    for test in sorted({test for mutant in MUTANTS for test in mutant.tests}):
        path, *_, name = test.split("::")
        text = (ROOT / path).read_text() + INHERITED
        assert f"def {name.partition('[')[0]}(" in text, test


def mutant(**changes):
    given = {"name": "a bug", "file": "errors.py", "old": "x = 1", "new": "x = 2", "tests": ("t",)}
    return Mutant(**{**given, **changes})


@pytest.mark.parametrize(
    ("text", "changes", "match"),
    [
        ("y = 1", {}, "0 times"),
        ("x = 1\nx = 1", {}, "2 times"),
        ("x = 1", {"new": "x = ("}, "no Python"),
        ("x = 1", {"new": "x = 1"}, "changes nothing"),
    ],
)
def test_a_bug_that_cannot_be_planted_is_told(tmp_path, text, changes, match):
    (tmp_path / "errors.py").write_text(text)
    with pytest.raises(DoesNotApplyError, match=match):
        mutant(**changes).planted(tmp_path)


@pytest.mark.parametrize(
    ("outcome", "changes", "word"),
    [
        (Outcome(1, "FAILED tests/test_a.py::test_b - it is 2"), {}, CAUGHT),
        (Outcome(0, "1 passed"), {}, SURVIVED),
        (Outcome(0, "1 passed"), {"equivalent": "for a reason"}, EQUIVALENT),
        (Outcome(1, "FAILED tests/test_a.py::test_b"), {"equivalent": "for a reason"}, NOT_EQUIVALENT),
        (Outcome(1, "ERROR tests/test_a.py::test_b - its fixture"), {}, NO_VERDICT),
        (Outcome(2, "ERROR tests/test_a.py"), {}, NO_VERDICT),
        (Outcome(4, "ERROR: not found"), {}, NO_VERDICT),
        (Outcome(5, "no tests ran"), {}, NO_VERDICT),
        (Outcome(-9, ""), {}, NO_VERDICT),
        (Outcome(None, ""), {}, HUNG),
        (Outcome(None, ""), {"hangs": True}, CAUGHT),
    ],
)
def test_only_a_failing_test_catches_a_bug(outcome, changes, word):
    assert verdict_on(mutant(**changes), outcome).word == word
