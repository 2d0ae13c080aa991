"""What the README and the guides say is so: their code runs, their tables and names are the package's."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from kernelckpt import CheckpointHook, Scheduler, Turn
from kernelckpt.storage.url import GROUP

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TESTED_ELSEWHERE = {"format.md", "original.md", "performance.md"}
PAGES = [README, *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in TESTED_ELSEWHERE)]
"""The pages whose code is run here; the others have tests of their own."""

SET_IN_A_TURN = {"deps"}
"""What a turn has that its class has not: it is set when one begins."""

MODULES = {"kernelckpt": ["-m", "kernelckpt"], "python": []}
FROM_A_CHECKOUT = {"make", "pip"}


class Block(NamedTuple):
    """A fenced block, and the name of the file it is to be saved as, if the line before gives one."""

    language: str
    text: str
    name: str


def blocks_of(page: Path) -> list[Block]:
    fenced = re.compile(r"(?:^`([\w.]+)`:\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [Block(language, text, name) for name, language, text in fenced.findall(page.read_text())]


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a python process in the folder."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout


def run_python(folder: Path, block: Block) -> None:
    path = folder / (block.name or "test_block.py")
    path.write_text(block.text)
    if block.name:
        return  # a console block runs it
    is_test = "import pytest" in block.text
    pytest_options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    code, output = run(folder, *(pytest_options if is_test else []), path.name)
    assert code == 0, output
    assert "skipped" not in output


def run_console(folder: Path, block: Block) -> None:
    """Run each command, and compare what is shown: its output, and what a shell says of its death."""
    for session in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = session.partition("\n")
        program, *arguments = command.split()
        code, output = run(folder, *MODULES[program], *arguments)
        assert (code, output + ("Killed\n" if code == -9 else "")) == (-9 if "Killed" in shown else 0, shown)


def run_shell(folder: Path, block: Block) -> None:
    """Run each command; those that need a fresh checkout are only looked up."""
    for command in block.text.splitlines():
        program, *arguments = shlex.split(command)
        if program in FROM_A_CHECKOUT:
            assert is_offered(program, arguments), command
        else:
            code, output = run(folder, *MODULES[program], *arguments)
            assert code == 0, f"{command}\n{output}"


def is_offered(program: str, arguments: list[str]) -> bool:
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        return all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", arguments[-1])
    assert extras is not None
    offered = project["project"]["optional-dependencies"]
    return arguments[0] == "install" and set(filter(None, (extras[1] or "").split(","))) <= set(offered)


def read_toml(_folder: Path, block: Block) -> None:
    assert GROUP in tomllib.loads(block.text)["project"]["entry-points"]


RUNNERS = {"python": run_python, "console": run_console, "sh": run_shell, "toml": read_toml}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    found = blocks_of(page)
    assert len(found) == page.read_text().count("\n```") / 2
    for block in found:
        RUNNERS[block.language](tmp_path, block)


def test_the_table_of_settings_is_that_of_the_hook() -> None:
    shown = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", README.read_text(), re.MULTILINE)
    parameters = list(inspect.signature(CheckpointHook).parameters.values())[1:]
    assert [(name, default.replace('"', "'")) for name, default in shown] == [
        (parameter.name, shown_default(parameter.default)) for parameter in parameters
    ]


def shown_default(value: object) -> str:
    if inspect.isfunction(value):
        return value.__name__
    is_plain = value is None or isinstance(value, (bool, int, float, str))
    return repr(value) if is_plain else f"{type(value).__name__}()"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_that_a_page_mentions_exist(page: Path) -> None:
    text = page.read_text()
    files = re.findall(r"`((?:kernelckpt|docs|examples)/[\w./]*)`", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    owners = {"turn": Turn, "kernel": Scheduler, "hook": CheckpointHook}
    names = set(re.findall(r"\b(turn|kernel|hook)\.(?!py\b)(\w+)", text))
    names -= {("turn", name) for name in SET_IN_A_TURN}
    assert [f"{owner}.{name}" for owner, name in names if not hasattr(owners[owner], name)] == []


def test_the_readme_names_every_example() -> None:
    text = README.read_text()
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f"`{path.name}`" not in text] == []


def test_the_table_of_a_turn_names_what_a_turn_has() -> None:
    rows = re.findall(
        r"^\| (?:read|stage|tell at once|end) \| (.*) \|$",
        (ROOT / "docs" / "programs.md").read_text(),
        re.MULTILINE,
    )
    names = re.findall(r"`(\w+)`", " ".join(rows))
    assert len(rows) == 4
    assert [name for name in names if name not in SET_IN_A_TURN and not hasattr(Turn, name)] == []
