"""What the processes of the demonstration say to each other, a JSON object a line."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec
from msgspec import Struct

from kernelckpt.demo.tree import Tree


class Moment(StrEnum):
    """Where an agent, or the kernel around it, is when the kill comes."""

    TURN = "in a turn"
    CALL_NOT_MADE = "in a tool, before its call left"
    CALL_MADE = "in a tool, after its call arrived"
    CALLS_DONE = "in a turn, after its calls"
    JOIN = "in a join"
    APPROVAL = "while an approval was pending"
    BASE = "while a base was written"
    RESTORE = "while coming back"
    ANY = "at no chosen place"


class Aim(Struct, frozen=True):
    """A kill to come: at the first such moment once so many turns are committed."""

    moment: Moment
    turns: int


class Config(Struct, frozen=True):
    """What a child process is started with: its first line.

    Attributes:
        side: "kernel" or "bare".
        book: the name its filings are kept under.
        tree: what is surveyed.
        folder: where its state and its report go.
        port: of the counting process, on this machine.
        aims: where it may be killed: at the first of them that comes; without any it finishes.
    """

    side: str
    book: str
    tree: Tree
    folder: str
    port: int
    aims: tuple[Aim, ...] = ()


class Answer(Struct, frozen=True):
    """What the human says to a question: parent to child."""

    task: str
    key: str
    approve: bool


class Usage(Struct, frozen=True):
    """What checkpointing has cost in one life of a process; see `HookStats`."""

    checkpoints: int = 0
    bytes_written: int = 0
    bases: int = 0
    base_bytes: int = 0
    longest_hold_seconds: float = 0.0


class Begun(Struct, frozen=True, tag="begun"):
    """A turn of an agent begins."""

    task: str
    turn: int


class Restored(Struct, frozen=True, tag="restored"):
    """A kernel came back."""

    turn: int
    live: int
    interrupted: int
    in_doubt: int
    seconds: float


class Progress(Struct, frozen=True, tag="progress"):
    """How far it is."""

    turn: int
    ended: int
    usage: Usage = Usage()


class Aimed(Struct, frozen=True, tag="aimed"):
    """An aimed moment is now."""

    moment: Moment
    turn: int


class Doubt(Struct, frozen=True, tag="doubt"):
    """A filing was begun and nobody here knows whether it arrived."""

    task: str
    key: str
    finding: str


class Asked(Struct, frozen=True, tag="asked"):
    """An agent asks for an approval."""

    task: str
    key: str
    prompt: str
    turn: int


class Finished(Struct, frozen=True, tag="finished"):
    """All is done.

    Attributes:
        turn: turns committed over the life of the run.
        tokens: tokens spent.
        digest: of every agent's row, history and result.
        checkpoints: the number of the newest checkpoint of the run.
        usage: what checkpointing cost in this life.
        problem: why it did not end well; empty when it did.
    """

    turn: int
    tokens: int
    digest: str = ""
    checkpoints: int = 0
    usage: Usage = Usage()
    problem: str = ""


class Failed(Struct, frozen=True, tag="failed"):
    """This process cannot go on."""

    error: str


Report: TypeAlias = Begun | Restored | Progress | Aimed | Doubt | Asked | Finished | Failed
"""Child to parent."""


class Filing(Struct, frozen=True, tag="file"):
    """A finding to keep; not idempotent: filed twice, it is there twice."""

    book: str
    finding: str


class Inquiry(Struct, frozen=True, tag="ask"):
    """How often each finding of a book was filed."""

    book: str


Request: TypeAlias = Filing | Inquiry
"""To the counting process, which answers with a mapping of findings to counts."""

MOST_BYTES = 16 * 1024 * 1024
"""The longest line."""


def line_of(message: object) -> bytes:
    """A message as a line."""
    return msgspec.json.encode(message) + b"\n"
