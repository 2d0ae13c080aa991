"""A small source tree with something to find in nearly every module."""

import pytest

TROUBLE = """\
def first(a, b=[]):
    try:
        return eval(a)
    except:
        return b == None


def second():
    '''Documented.'''
"""


@pytest.fixture
def source_tree(tmp_path):
    root = tmp_path / "source"
    for folder in range(4):
        package = root / f"package{folder}"
        package.mkdir(parents=True)
        for module in range(5):
            (package / f"module{module}.py").write_text(f"NUMBER = 1{folder}{module}\n{TROUBLE}")
    (root / "broken.py").write_text("def (:\n")
    (root / "empty.py").write_text("")
    return root
