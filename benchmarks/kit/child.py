"""Child processes: figures of a whole process, and processes whose system calls are slowed down."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec


def call(function: str, argument: Any = None, *, env: Mapping[str, str] | None = None) -> Any:
    """What an async function says in a process of its own.

    Args:
        function: "module:function", with one argument of plain data; returns plain data.
        argument: that argument.
        env: additions to the environment.

    Raises:
        RuntimeError: it failed; its error output was shown.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kit.child", function],
        input=msgspec.json.encode(argument),
        stdout=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{function} failed in its process, with {done.returncode}")
    return msgspec.json.decode(done.stdout)


def main() -> None:
    """Run the function that is named; the argument comes in as JSON, what it returns goes out."""
    module, _, name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module), name)
    answer = asyncio.run(function(msgspec.json.decode(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
