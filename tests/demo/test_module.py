"""What is found in one module."""

import os

import pytest

from kernelckpt.demo.module import Finding, examine


@pytest.fixture
def examined(tmp_path):
    def examine_source(source):
        path = tmp_path / "module.py"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return examine(os.fsencode(path))

    return examine_source


def test_facts_of_a_module(source_tree):
    facts = examine(os.fsencode(source_tree / "package1" / "module2.py"))
    assert (facts.lines, facts.functions, facts.undocumented) == (11, 2, 1)
    assert (facts.longest, facts.longest_name) == (5, "first")
    assert facts.findings == (
        Finding("bare except", 1, 5),
        Finding("calls eval or exec", 1, 4),
        Finding("compares with None by ==", 1, 6),
        Finding("mutable default", 1, 2),
    )
    assert facts.tokens > 0


def test_alike_troubles_are_one_finding(examined):
    assert examined("eval('1')\nexec('2')\n").findings == (Finding("calls eval or exec", 2, 1),)


def test_long_functions_are_found(examined):
    source = "async def long():\n" + "    pass\n" * 100
    assert examined(source).findings == (Finding("function over 100 lines", 1, 1),)
    assert not examined(source.removesuffix("    pass\n")).findings


@pytest.mark.parametrize(
    "source",
    ["def (:", b"\0", b"# -*- coding: nonsense -*-\n", b"\xff\xfe", "(" * 500, "-" * 100_000 + "1"],
    ids=["syntax", "null", "coding", "no text", "nested", "deep"],
)
def test_what_does_not_parse_is_a_finding(examined, source):
    assert [finding.kind for finding in examined(source).findings] == ["does not parse"]


def test_what_cannot_be_read_is_a_finding(tmp_path):
    facts = examine(os.fsencode(tmp_path / "nowhere.py"))
    assert facts.findings == (Finding("cannot be read", 1, 0),)


def test_an_empty_module_is_nothing_special(examined):
    facts = examined("")
    assert (facts.size, facts.lines, facts.functions, facts.findings) == (0, 1, 0, ())
