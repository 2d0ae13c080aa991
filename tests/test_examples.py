"""Every example runs, is killed in the middle, and goes on when it is started again."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from kernelckpt import Effect, EffectStatus, open_storage
from kernelckpt.codec.record import decode_record
from kernelckpt.errors import NotFoundError
from kernelckpt.log import read_run

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 60.0
"""Seconds after which a condition counts as one that never comes."""


class Running:
    """A process and what it has printed so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.output = ""
        assert process.stdout is not None
        self._stream = TextReceiveStream(process.stdout)

    async def until(self, *texts: str) -> str:
        """Read until all of these were printed."""
        while not all(text in self.output for text in texts):
            try:
                self.output += await self._stream.receive()
            except anyio.EndOfStream:
                pytest.fail(f"ended before it printed {texts}:\n{self.output}")
        return self.output

    async def end(self, signum: signal.Signals | None = None) -> int:
        """Read to the end, after a signal if one is given; the exit code."""
        if signum is not None:
            self.process.send_signal(signum)
        async for chunk in self._stream:
            self.output += chunk
        return await self.process.wait()


@asynccontextmanager
async def running(folder: Path, *command: str, **settings: str) -> AsyncIterator[Running]:
    """A python process in a folder of its own; killed if it is still there on leaving."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **settings}
    with anyio.fail_after(PATIENCE):
        process = await anyio.open_process(
            [sys.executable, *command], stdout=PIPE, stderr=STDOUT, cwd=folder, env=environment
        )
        async with process:
            try:
                yield Running(process)
            finally:
                if process.returncode is None:
                    process.kill()


async def output_of(folder: Path, name: str, *arguments: str, **settings: str) -> str:
    """What an example prints when it is left alone."""
    async with running(folder, str(EXAMPLES / name), *arguments, **settings) as example:
        assert await example.end() == 0, example.output
        return example.output


async def killed_at(folder: Path, name: str, *texts: str, **settings: str) -> str:
    """What an example has printed when it is killed, which is as soon as it has printed these texts."""
    async with running(folder, str(EXAMPLES / name), **settings) as example:
        await example.until(*texts)
        assert await example.end(signal.SIGKILL) == -signal.SIGKILL
        return example.output


async def poll(condition: Callable[[], Any]) -> Any:
    """Ask until the answer is true."""
    with anyio.fail_after(PATIENCE):
        while not (answer := await condition()):
            await anyio.sleep(0.02)
    return answer


async def test_quickstart_goes_on_after_a_kill(tmp_path: Path) -> None:
    first = await killed_at(tmp_path, "quickstart.py", "turn 3\n", COUNT_TO="12", COUNT_PAUSE="0.05")
    second = await output_of(tmp_path, "quickstart.py", COUNT_TO="12", COUNT_PAUSE="0")
    assert {int(n) for n in re.findall(r"^turn (\d+)", first + second, re.MULTILINE)} == set(range(1, 13))
    assert second.endswith("counted: 12 turns, 120 tokens\n")
    third = await output_of(tmp_path, "quickstart.py")
    assert third.splitlines() == ["restored at kernel turn 12", "counted: 12 turns, 120 tokens"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)])
async def test_quickstart_leaves_a_last_checkpoint_when_stopped(
    tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    settings = {"COUNT_TO": "1000", "COUNT_PAUSE": "0.05"}
    async with running(tmp_path, str(EXAMPLES / "quickstart.py"), **settings) as example:
        await example.until("turn 2\n")
        assert await example.end(signum) == code
    second = await output_of(tmp_path, "quickstart.py", COUNT_TO="3", COUNT_PAUSE="0")
    turns = max(int(n) for n in re.findall(r"turn (\d+)", example.output))
    restored = re.search(r"restored at kernel turn (\d+)", second)
    assert restored, second
    assert turns - 1 <= int(restored[1]) <= turns


async def test_sub_agents_keep_their_results(tmp_path: Path) -> None:
    await killed_at(tmp_path, "sub_agents.py", "seas p.2\n", SURVEY_PAUSE="0.05")
    rest = await output_of(tmp_path, "sub_agents.py", SURVEY_PAUSE="0")
    assert rest.endswith("rivers: 3 pages; lakes: 2 pages; seas: 4 pages (900 tokens)\n")


@pytest.mark.parametrize(
    ("answer", "outcome", "paid"),
    [("approve", "paid 42 for A7", "A7 42\n"), ("deny", "not paid: the accountant said no", "")],
)
async def test_an_approval_is_asked_for_until_another_process_answers(
    tmp_path: Path, answer: str, outcome: str, paid: str
) -> None:
    question = 'asked: Pay A7? The books say {"amount":42}'
    for _ in range(2):
        assert (await output_of(tmp_path, "tools_and_approval.py")).splitlines() == [question]
    answered = await output_of(tmp_path, "tools_and_approval.py", answer)
    assert answered.splitlines() == [question, outcome]
    assert (await output_of(tmp_path, "tools_and_approval.py")).splitlines() == [outcome]
    book = tmp_path / "paid.txt"
    assert (book.read_text() if book.exists() else "") == paid


@pytest.mark.parametrize(
    ("answer", "outcome", "paid"),
    [
        ("approve", "paid 42 for A7", "A7 42\n"),
        ("deny", "nobody knows whether it was paid, and it is not to be done again", ""),
    ],
)
async def test_a_payment_in_doubt_is_left_to_a_human(
    tmp_path: Path, answer: str, outcome: str, paid: str
) -> None:
    book = tmp_path / "paid.txt"
    os.mkfifo(book)  # nobody reads it, so paying does not return
    async with running(tmp_path, str(EXAMPLES / "tools_and_approval.py"), "approve") as example:
        await poll(lambda: payment_has_begun(tmp_path))
        await example.end(signal.SIGKILL)
    book.unlink()
    asked = await output_of(tmp_path, "tools_and_approval.py")
    assert "pay was begun and may have happened" in asked
    assert not book.exists()
    answered = await output_of(tmp_path, "tools_and_approval.py", answer)
    assert answered.splitlines()[-1] == outcome
    assert (book.read_text() if book.exists() else "") == paid


async def payment_has_begun(folder: Path) -> bool:
    """Whether the intent to pay is durable."""
    try:
        async with open_storage(f"file:{folder}/state") as storage:
            loaded = await read_run(storage, "office")
    except NotFoundError:
        return False
    effects = [decode_record(key, data) for key, data in loaded.records.items() if key[0] == "effect"]
    return any(
        isinstance(effect, Effect) and (effect.name, effect.status) == ("pay", EffectStatus.STARTED)
        for effect in effects
    )


async def test_waits_survive_restarts(tmp_path: Path) -> None:
    name = "signals_messages_timers.py"
    assert await output_of(tmp_path, name) == "p1 waits for a message\n"
    assert await output_of(tmp_path, name, "message") == "p1 waits for a signal\n"
    assert await output_of(tmp_path, name, "message") == "p1 waits for a signal\n"
    script = str(EXAMPLES / name)
    async with running(tmp_path, script, "signal", ALARM_SECONDS="0.5") as example:
        await example.until("routed: interrupt\n", "sleeps for 0.5 s\n")
        await example.end(signal.SIGKILL)
    story = "heard: a guest has arrived | signal: the bell rings\n"
    assert (await output_of(tmp_path, name, ALARM_SECONDS="0.5")).endswith(story)
    assert await output_of(tmp_path, name) == story


async def test_another_host_is_checkpointed_through_the_same_seam(tmp_path: Path) -> None:
    settings = {"MOVES": "30", "MOVE_PAUSE": "0.05"}
    await killed_at(tmp_path, "own_kernel.py", "transfer 3:", **settings)
    async with running(tmp_path, str(EXAMPLES / "own_kernel.py"), **settings) as example:
        await example.until("restored after transfer", "\ntransfer ")
        assert await example.end(signal.SIGTERM) == -signal.SIGTERM
    rest = await output_of(tmp_path, "own_kernel.py", MOVES="30", MOVE_PAUSE="0")
    assert rest.startswith("restored after transfer")
    assert rest.endswith("30 transfers, {'ann': 30, 'bob': 170}, 200 in all\n")


async def test_a_restarted_web_server_goes_on(tmp_path: Path) -> None:
    async with server(tmp_path, STEP_PAUSE="0.1") as (uvicorn, client):
        created = await client.post("/tasks/t1", json={"goal": "tidy up"})
        assert created.status_code == 201
        await poll(lambda: first_task(client, lambda task: len(task["said"]) >= 2))
        assert await uvicorn.end(signal.SIGTERM) == -signal.SIGTERM
        assert "Application shutdown complete" in uvicorn.output
    async with server(tmp_path, STEP_PAUSE="0") as (uvicorn, client):
        await poll(lambda: first_task(client, lambda task: task["asks"] == "tidy"))
        await uvicorn.end(signal.SIGKILL)
    async with server(tmp_path, STEP_PAUSE="0") as (uvicorn, client):
        task = await first_task(client, lambda _: True)
        assert (task["asks"], task["said"]) == ("tidy", [f"step {n}" for n in range(1, 6)])
        assert (await client.post("/tasks/t1/approve/other")).status_code == 404
        assert (await client.post("/tasks/t1/approve/tidy")).status_code == 200
        done = await poll(lambda: first_task(client, lambda task: task["state"] == "done"))
        assert done["tokens"] == 50
        assert await uvicorn.end(signal.SIGTERM) == -signal.SIGTERM


@asynccontextmanager
async def server(folder: Path, **settings: str) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    """The application under uvicorn, on a port that was free."""
    command = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "fastapi_app:app"]
    async with running(folder, *command, **settings) as uvicorn:
        started = await uvicorn.until("Uvicorn running on ", "(Press CTRL+C")
        found = re.search(r"running on (http://\S+)", started)
        assert found, started
        async with httpx.AsyncClient(base_url=found[1], trust_env=False) as client:
            yield uvicorn, client


async def first_task(client: httpx.AsyncClient, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first task as the application shows it; {} when it is not as wanted."""
    [task] = (await client.get("/tasks")).json()
    return task if fits(task) else {}


def test_every_example_is_run_here() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if path.stem not in tests] == []


async def test_governed_release_is_refused_asked_and_judged_across_processes(tmp_path: Path) -> None:
    for _ in range(2):
        assert await output_of(tmp_path, "governed_release.py") == "r1 is blocked\n"
    said = await output_of(tmp_path, "governed_release.py", "approve")
    kinds = [line.partition(":")[0] for line in said.splitlines()]
    assert kinds == ["judged", "told", "told", "told", "asked", "asked", "r1 is done"]
    assert "told: [ROLLBACK] deploy was refused: nothing is deployed at weekends\n" in said
    assert await output_of(tmp_path, "governed_release.py", "approve") == "r1 is done\n"
