"""A loop that knows nothing of checkpoints is killed at each of its calls, and makes none of them twice."""

from __future__ import annotations

import ast
import signal
from pathlib import Path

from test_examples import EXAMPLES, output_of, running

CALLS = ["model answers 1", "model answers 5", "room in Rome", "model answers 7"]
END = "All set: a room in Rome.\n"


def made(folder: Path) -> list[str]:
    """What the other side has had, in order, without the keys."""
    return [line.partition(" ")[2] for line in (folder / "calls.txt").read_text().splitlines()]


async def test_killed_in_each_of_its_calls_it_makes_none_twice(tmp_path: Path) -> None:
    for number, call in enumerate(CALLS, 1):
        async with running(tmp_path, str(EXAMPLES / "wrapped_loop.py"), LOOP_PAUSE="30") as example:
            await example.until(f"{call}\n")
            assert await example.end(signal.SIGKILL) == -signal.SIGKILL
        assert made(tmp_path) == CALLS[:number]
    assert (await output_of(tmp_path, "wrapped_loop.py", LOOP_PAUSE="0")) == END
    assert made(tmp_path) == CALLS
    assert (await output_of(tmp_path, "wrapped_loop.py")) == END
    assert made(tmp_path) == CALLS


async def test_left_alone_it_makes_the_same_calls(tmp_path: Path) -> None:
    assert (await output_of(tmp_path, "wrapped_loop.py", LOOP_PAUSE="0")).endswith(END)
    assert made(tmp_path) == CALLS


def test_the_loop_knows_nothing_of_kernelckpt() -> None:
    tree = ast.parse((EXAMPLES / "third_party" / "react_loop.py").read_text())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imports == {"asyncio", "collections.abc", "typing"}
