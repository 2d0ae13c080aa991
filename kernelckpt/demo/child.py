"""The process that is killed: runs the agents, under a kernel or on bare asyncio, as its parent says.

Run as `python -m kernelckpt.demo.child`: its first line of input is a `Config`, the others are answers.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec

from kernelckpt.demo.bare import run_bare
from kernelckpt.demo.kernel_side import run_kernel
from kernelckpt.demo.message import Config, Failed
from kernelckpt.demo.pipe import read_lines
from kernelckpt.demo.site import tell_parent


async def main() -> None:
    """Do what the first line of input says, and report how it ended."""
    lines = read_lines(sys.stdin)
    config = msgspec.json.decode(await anext(lines), type=Config)
    run = run_kernel if config.side == "kernel" else run_bare
    try:
        tell_parent(await run(config, lines))
    except Exception as error:
        tell_parent(Failed(_described(error)))
        raise


def _described(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    asyncio.run(main())
