"""`kernelckpt send RUN TASK TEXT`: a message into a task's inbox."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from kernelckpt.cli.option import (
    DEFAULT_STORAGE,
    JsonOption,
    KeyFileOption,
    PlaintextOption,
    RunArgument,
    StorageOption,
    TaskArgument,
    WaitOption,
)
from kernelckpt.cli.posting import KeySource, parse_json, post
from kernelckpt.errors import UsageError
from kernelckpt.model.command import SendMessage
from kernelckpt.model.message import Message

_POSTED = "convert it first; nothing was posted"


def send(
    run: RunArgument,
    task: TaskArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What a user says; - reads it from the input.")],
    *,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Of several messages of one key, the task takes one.")
    ] = None,
    is_message: Annotated[
        bool, typer.Option("--message", help="TEXT is a whole message as JSON: role, content, ...")
    ] = False,
    storage: StorageOption = DEFAULT_STORAGE,
    key_file: KeyFileOption = None,
    accept_plaintext: PlaintextOption = False,
    wait: WaitOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Send a message to a task.

    It is posted to the run: a kernel that runs does it when it looks next, one that does not at its next
    start, once. With --wait the command says what came of it.
    """

    def make() -> SendMessage:
        told = _input() if text == "-" else text
        return SendMessage(task, _message(told) if is_message else Message.user(told), key)

    ring = KeySource(key_file, accept_plaintext)
    post(run, make, ring, storage=storage, wait=wait, json=json)


def _input() -> str:
    try:
        text = sys.stdin.read()
        text.encode()  # what is no text may have come through as lone surrogates
    except UnicodeError as error:
        raise UsageError(f"the input is not text in {sys.stdin.encoding}: {error}", hint=_POSTED) from error
    return text


def _message(text: str) -> Message:
    try:
        return msgspec.convert(parse_json(text, "--message"), Message)
    except msgspec.ValidationError as error:
        hint = 'as {"role": "user", "content": "hello"}'
        raise UsageError(f"--message: {error}", hint=hint) from error
