"""Bring your own kernel: the same hook under another host - here a small bank instead of an agent scheduler.

Run `python examples/own_kernel.py`, kill it, and run it again: it goes on with the next transfer, and no
money was made or lost. A host keeps its state as records under keys, and offers what `KernelHost` in
`kernelckpt/abc/` asks for. MOVES is how many transfers there are, MOVE_PAUSE the seconds between them.
Delete the folder `state` to begin anew.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from kernelckpt import CheckpointHook, Commit, SystemClock
from kernelckpt.abc import Append, Key, Put, RestoredState

MOVES = int(os.environ.get("MOVES", "20"))
PAUSE = float(os.environ.get("MOVE_PAUSE", "0.2"))
JOURNAL: Key = ("journal", "", 0)


class Account(msgspec.Struct, frozen=True):
    """A record: frozen, because the hook encodes it after the commit."""

    balance: int


class Bank:
    """A `KernelHost` of two accounts and a journal; a transfer is its turn and its commit."""

    run_id = "bank"
    clock = SystemClock()

    def __init__(self, group: TaskGroup) -> None:
        """A new bank; the hook may `restore` an older one into it."""
        self.group = group
        self.accounts = {"ann": Account(100), "bob": Account(100)}
        self.journal: list[bytes] = []
        self.commit_number = 0
        self.stopping = False
        self.failure: BaseException | None = None
        self.at_end: list[Callable[[], None]] = []

    @property
    def turn(self) -> int:
        """Transfers over the life of the run."""
        return len(self.journal)

    def move(self, source: str, target: str, amount: int) -> Commit:
        """One transfer: what it changes is one commit, there whole or not at all."""
        for name, change in ((source, -amount), (target, amount)):
            self.accounts[name] = Account(self.accounts[name].balance + change)
        line = msgspec.msgpack.encode([source, target, amount])
        self.journal.append(line)
        self.commit_number += 1
        puts = [Put(("account", name, 0), self.accounts[name]) for name in (source, target)]
        append = Append(JOURNAL, self.turn - 1, (line,))
        return Commit(self.commit_number, self.turn, (*puts, append), ended_turn=True)

    def rehearse(self, state: RestoredState) -> Sequence[str]:
        """What this bank lacks to go on from a state."""
        return [f"records of kind {key[0]!r}" for key in state.records if key[0] != "account"]

    def restore(self, state: RestoredState, *, downtime_ms: int | None, notes: Sequence[str]) -> None:
        """Take over what was found."""
        for (_, name, _), data in state.records.items():
            self.accounts[name] = msgspec.msgpack.decode(data, type=Account)
        self.journal = list(state.streams.get(JOURNAL, ()))
        print(f"restored after transfer {self.turn}; away for {downtime_ms} ms", *notes, flush=True)

    def scan(self) -> Iterator[tuple[Key, msgspec.Struct | bytes | None]]:
        """All records, for a base; the list is a copy, so that transfers may go on."""
        for name, account in list(self.accounts.items()):
            yield ("account", name, 0), account
        yield JOURNAL, None

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a part of the hook beside the transfers; what it raises halts the bank."""

        async def part() -> None:
            try:
                await function(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing is kept any more
                self.halt(error)

        self.group.start_soon(part)

    def halt(self, error: BaseException) -> None:
        """Stop at once."""
        self.failure = error
        self.group.cancel_scope.cancel()

    def request_stop(self, grace: float | None = None) -> None:  # noqa: ARG002 - a transfer is quick
        """Let the transfer at work be the last one."""
        self.stopping = True

    def call_at_end(self, callback: Callable[[], None]) -> None:
        """Remember what to call once the last checkpoint is written."""
        self.at_end.append(callback)

    def report(self, kind: str, **facts: Any) -> None:
        """Show what the hook has to say."""
        print(kind, facts, flush=True)


async def work(bank: Bank, hook: CheckpointHook) -> None:
    """Make the transfers that are left."""
    while bank.turn < MOVES and not bank.stopping:
        await hook.ready()  # back-pressure
        source, target = ("ann", "bob") if bank.turn % 3 else ("bob", "ann")
        commit = bank.move(source, target, 7)
        hook.on_commit(bank, commit)
        await hook.durable(commit.number)  # nobody is told before it is kept
        print(f"transfer {bank.turn}: {source} to {target}", flush=True)
        await anyio.sleep(PAUSE)


async def main() -> None:
    """The life of a host: start the hook, work, stop the hook."""
    hook = CheckpointHook("file:./state")
    async with anyio.create_task_group() as group:
        bank = Bank(group)
        await hook.on_start(bank)
        try:
            await work(bank, hook)
        finally:
            with anyio.CancelScope(shield=True):
                await hook.on_stop(bank)
        group.cancel_scope.cancel()
    for callback in bank.at_end:
        callback()
    if bank.failure is not None:
        raise bank.failure
    balances = {name: account.balance for name, account in bank.accounts.items()}
    print(f"{bank.turn} transfers, {balances}, {sum(balances.values())} in all")


if __name__ == "__main__":
    asyncio.run(main())
