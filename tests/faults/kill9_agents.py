"""The process that `kill9.py` kills: many agents on a file storage, and a voice for what was acknowledged."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from kernelckpt import (
    CheckpointHook,
    Hook,
    LogOptions,
    Message,
    Scheduler,
    SchedulerBudget,
    ToolCall,
    Turn,
    tool,
)
from kernelckpt.errors import EffectDenied, SchedulerStopped, UsageError

RUN_ID = "kill9"
ROUNDS = 3
STEPS = 6
LAST_TURN = ROUNDS * STEPS + 1


def tell(**facts: Any) -> None:
    """Write one line to the parent; what was written before a kill arrives."""
    os.write(1, json.dumps(facts).encode() + b"\n")


async def agent(turn: Turn) -> Any:
    """Go through every kind of turn; the number alone says which comes next."""
    number, task_id = turn.number, turn.task.id
    for message in turn.inbox:
        turn.append(message)
    turn.set_state({"turns": number})
    if number == LAST_TURN:
        turn.say(f"turn {number}")
        return turn.complete(f"{task_id} is done")
    return await _STEPS[number % STEPS](turn, number, task_id)


async def file_one(turn: Turn, number: int, task_id: str) -> Any:
    try:
        await turn.effect(turn.deps, task_id, number)
        turn.say(f"turn {number} filed")
    except EffectDenied:
        turn.say(f"turn {number} filed before")


async def ask(turn: Turn, number: int, task_id: str) -> Any:
    turn.say(f"turn {number}")
    return turn.ask_approval(f"go-{number}", "may I go on?")


async def delegate(turn: Turn, number: int, task_id: str) -> Any:
    answer = turn.approvals[f"go-{number - 1}"]
    turn.say(f"turn {number} {answer.status.value}")
    return turn.join(turn.spawn("helper", input={"for": task_id}))


async def listen(turn: Turn, number: int, task_id: str) -> Any:
    texts = ",".join(result.text for result in turn.results.values())
    turn.say(f"turn {number} {texts}")
    return turn.wait_for_message()


async def request(turn: Turn, number: int, task_id: str) -> Any:
    call = ToolCall(f"call-{number}", "file_tool", {"task_id": task_id, "number": number})
    return turn.request(Message.assistant(f"turn {number}", [call]))


async def nap(turn: Turn, number: int, task_id: str) -> Any:
    turn.say(f"turn {number}")
    return turn.sleep(0.01)


_STEPS = {1: file_one, 2: ask, 3: delegate, 4: listen, 5: request, 0: nap}


async def helper(turn: Turn) -> Any:
    """A child of two turns."""
    turn.say(f"turn {turn.number}")
    turn.set_state({"turns": turn.number})
    if turn.number == 2:
        return turn.complete("helped")
    return None


def filing_tools(socket: str) -> tuple[Callable[[str, int], Awaitable[str]], Any]:
    """What files with the counting process, as an effect and as a tool; neither may be repeated."""

    async def file_report(task_id: str, number: int) -> str:
        stream = await anyio.connect_unix(socket)
        async with stream:
            await stream.send(f"{task_id} {number}\n".encode())
            return (await stream.receive()).decode()

    @tool(effect="ask")
    async def file_tool(task_id: str, number: int) -> str:
        return await file_report(task_id, number)

    return file_report, file_tool


async def standard_input() -> asyncio.StreamReader:
    """What the parent writes; reading it can be cancelled."""
    reader = asyncio.StreamReader(limit=1 << 20)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader


class Witness(Hook):
    """Tells the parent of each turn once the saver says that it is durable."""

    def __init__(self, saver: CheckpointHook) -> None:
        self._saver = saver
        self._turns: dict[str, int] = {}
        self._commit = 0
        self._news = anyio.Event()

    async def on_start(self, kernel: Any) -> None:
        kernel.start_soon(self._tell)

    def on_commit(self, kernel: Any, commit: Any) -> None:
        if not commit.ended_turn:
            return
        rows = [change.record for change in commit.changes if change.key[0] == "task"]
        self._turns.update({row.id: row.budget.turns for row in rows})
        self._commit = commit.number
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            turns, self._turns = self._turns, {}
            await self._saver.durable(self._commit)
            tell(durable=turns)


class Desk:
    """Does what the parent asks, and says so when it is acknowledged."""

    def __init__(self, kernel: Scheduler, saver: CheckpointHook) -> None:
        self._kernel = kernel
        self._saver = saver
        self._told: set[tuple[Any, ...]] = set()

    async def serve(self) -> None:
        """Obey until the parent is gone."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch)
            orders = await standard_input()
            while line := await orders.readline():
                group.start_soon(self._obey, json.loads(line))
            group.cancel_scope.cancel()

    async def _obey(self, order: dict[str, Any]) -> None:
        try:
            await getattr(self, "_" + order.pop("do"))(**order)
        except SchedulerStopped:
            return

    async def _submit(self, task_id: str) -> None:
        await self._kernel.submit("agent", task_id=task_id)
        tell(submitted=task_id)
        result = await self._kernel.join(task_id)
        tell(joined=task_id, text=result.text or result.error)

    async def _send(self, task_id: str, text: str) -> None:
        try:
            await self._kernel.send(task_id, text, key=text)
        except UsageError as error:
            tell(refused=text, why=str(error))
        else:
            tell(sent=text)

    async def _approve(self, task_id: str, key: str) -> None:
        await self._kernel.approve(task_id, key)
        tell(answered=[task_id, key, "approved"])

    async def _deny(self, task_id: str, key: str) -> None:
        await self._kernel.deny(task_id, key)
        tell(answered=[task_id, key, "denied"])

    async def _checkpoint(self) -> None:
        info = await self._saver.checkpoint()
        tell(saved=info.sequence, bases=self._saver.stats.bases)
        self._tell_waits()

    async def _watch(self) -> None:
        """Tell what the agents wait for, in time; `_tell_waits` finds what nobody was told of."""
        self._tell_waits()
        async for event in self._kernel.events():
            if event.kind == "waiting" and event.data["note"] == "message":
                self._tell_once(listens=event.task_id, turns=event.turn)
            elif event.kind == "waiting" and event.data["wait"] == "approval":
                self._tell_once(asks=event.task_id, key=f"go-{event.turn}", effect="", turns=event.turn)

    def _tell_waits(self) -> None:
        for row in self._kernel.tasks.live():
            if row.wait is not None and row.wait.note == "message":
                self._tell_once(listens=row.id, turns=row.budget.turns)
        for item in self._kernel.approvals():
            row = self._kernel.tasks.get(item.task_id)
            effect = item.payload["effect"] if item.payload else ""
            self._tell_once(asks=row.id, key=item.key, effect=effect, turns=row.budget.turns)

    def _tell_once(self, **facts: Any) -> None:
        fact = tuple(facts.values())
        if fact not in self._told:
            self._told.add(fact)
            tell(**facts)


async def main(url: str, socket: str) -> None:
    """Run the kernel until the parent is gone, or a signal says so."""
    options = LogOptions(base_min_bytes=64 * 1024, base_max_entries=100)
    saver = CheckpointHook(url, every=0.05, log=options)
    file_report, file_tool = filing_tools(socket)
    kernel = Scheduler(
        {"agent": agent, "helper": helper},
        run_id=RUN_ID,
        hooks=[saver, Witness(saver)],
        tools=[file_tool],
        deps=file_report,
        keep_done=200,
        budget=SchedulerBudget(max_turns=1000),
    )
    async with kernel:
        restored = kernel.restored
        tell(
            started=list(restored.in_doubt) if restored else [],
            notes=list(restored.notes) if restored else [],
        )
        await Desk(kernel, saver).serve()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
