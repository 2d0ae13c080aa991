"""A run to look at, and ways to call the command line: in this process, or as a user does."""

import json
import os
import subprocess
import sys
from typing import Any

import anyio
import msgspec
from typer.testing import CliRunner

from kernelckpt import CheckpointHook, Message, RuntimeSignal, Scheduler, SignalSource, SignalType, Urgency
from kernelckpt.cli.app import app
from kernelckpt.model.message import ToolCall

RUN = "démo\x1b[31m[red]"
SHOWN = "démo\\x1b[31m[red]"
TRICKY = "first line\nsecond \x1b[2J line\u202e"


class Called(msgspec.Struct, frozen=True):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def call(*arguments: str, env: dict[str, str] | None = None, text: str | bytes = "") -> Called:
    """Call a command in this process; `text` is its input."""
    done = CliRunner().invoke(app, arguments, input=text, env=env, catch_exceptions=False)
    return Called(done.exit_code, done.stdout, done.stderr)


def run_command(*arguments: str, **env: str) -> Called:
    """Call a command as a process of its own."""
    command = [sys.executable, "-m", "kernelckpt", *arguments]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **env}, timeout=60, check=False)
    return Called(done.returncode, done.stdout.decode(), done.stderr.decode())


async def lead(turn):
    if turn.number == 1:
        turn.set_state({"phase": 1})
        return turn.join(
            turn.spawn("ask", goal="ask", task_id="asker"), turn.spawn("quick", task_id="quick", input=[1])
        )
    return turn.complete("all done")


async def ask(turn):
    turn.append(Message.assistant("may I?", [ToolCall("c1", "mail", {"to": "[bold]you"})]))
    turn.append(Message.tool_result("c1", TRICKY))
    return turn.ask_approval("sure", "Are you\nsure? \x1b[5m", {"amount": 10}, timeout=None)


async def quick(turn):
    turn.spend(tokens=1200, cost_micros=1_500_000)
    for index in range(5):
        turn.say(f"thought {index}")
    return turn.complete("quick as ever", output={"näme": [1, 2]})


async def broken(turn):
    raise ValueError("no \x1b[31m luck")


PROGRAMS = {"lead": lead, "ask": ask, "quick": quick, "broken": broken}


async def make_run(url: str, run_id: str = RUN, tasks: int = 0) -> None:
    """A run with a task in every state, something pending, and as many finished tasks as are asked for."""
    hook = CheckpointHook(url, every=None)
    async with Scheduler(PROGRAMS, run_id=run_id, hooks=[hook]) as kernel:
        await kernel.submit("lead", task_id="lead", goal="lead [red]the others")
        await kernel.submit("broken", task_id="broken")
        for index in range(tasks):
            await kernel.submit("broken", task_id=f"many {index}")
        await kernel.idle()
        await kernel.signal(RuntimeSignal(SignalSource.CRON, SignalType.EVENT, Urgency.NORMAL, "tick"))
        await kernel.send("asker", "hello?")


def make(url: str, *args: Any) -> None:
    anyio.run(make_run, url, *args)
