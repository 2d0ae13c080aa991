"""The command line: a command a file."""

from kernelckpt.cli.app import main

__all__ = ["main"]
