"""What is surveyed, and by whom."""

import os
import sys

import pytest

from kernelckpt.demo.tree import find_tree, shown
from kernelckpt.errors import UsageError


def modules_of(tree):
    return [shown(path) for share in tree.shares for path in share.modules]


def test_every_module_is_in_exactly_one_share(source_tree):
    tree = find_tree(source_tree, per_agent=2)
    found = modules_of(tree)
    assert len(found) == len(set(found)) == tree.modules == tree.found == 22
    assert tree.folders == 5
    assert tree.turns == 25
    assert [share.name for share in tree.shares[:4]] == [
        ".",
        "package0 (1/3)",
        "package0 (2/3)",
        "package0 (3/3)",
    ]


def test_it_is_the_same_every_time(source_tree):
    assert find_tree(source_tree) == find_tree(source_tree)


def test_modules_are_taken_at_even_distances(source_tree):
    tree = find_tree(source_tree, most_modules=11)
    assert tree.modules == 11
    assert tree.found == 22
    assert {name.partition("/")[0] for name in modules_of(tree)} >= {f"package{n}" for n in range(4)}


def test_shares_are_thinned_at_even_distances(source_tree):
    tree = find_tree(source_tree)
    assert [share.name for share in tree.thinned(3).shares] == [".", "package0", "package2"]
    assert tree.thinned(5) is tree


def test_what_is_no_source_is_left_out(source_tree):
    for name in ("site-packages", "__pycache__"):
        (source_tree / name).mkdir()
        (source_tree / name / "other.py").write_text("")
    (source_tree / "folder.py").mkdir()
    (source_tree / "broken_link.py").symlink_to(source_tree / "nowhere")
    os.mkfifo(source_tree / "pipe.py")
    assert find_tree(source_tree).found == 22


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_are_shown_escaped(source_tree):
    with open(os.fsencode(source_tree) + b"/odd\xff\n.py", "wb"):
        pass
    assert "odd\\xff\\n.py" in modules_of(find_tree(source_tree))


@pytest.mark.parametrize("name", ["nowhere", "broken.py", "hollow"])
def test_nothing_to_survey_is_said(source_tree, name):
    (source_tree / "hollow").mkdir()
    with pytest.raises(UsageError) as caught:
        find_tree(source_tree / name)
    assert caught.value.hint
