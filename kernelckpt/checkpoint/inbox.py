"""The run's inbox as its owner sees it: commands are taken, told of, deleted, and then forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import anyio
from anyio.lowlevel import checkpoint

from kernelckpt.abc import CommandHost, KernelHost, PostedMessage, StorageBackend
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.posted import (
    COMMAND,
    command_name,
    decode_command,
    encode_posted,
    parse_name,
    reply_name,
)
from kernelckpt.errors import KernelCkptError, SchedulerStopped
from kernelckpt.log import RunLog
from kernelckpt.model.command import CommandOutcome

REPLY_SECONDS = 600.0
"""For how long a reply that nobody fetches is kept."""


class Inbox:
    """Takes what was posted to a run, each command once.

    A command is done in one commit with the record of its id. Only when that is durable the command is
    deleted, and only when that is durable its id is forgotten: whenever a crash comes, it is new or known.
    """

    def __init__(
        self, kernel: KernelHost, host: CommandHost, storage: StorageBackend, log: RunLog, codec: Codec
    ) -> None:
        """Look at nothing yet; `host` is the kernel, as one that takes commands."""
        self._kernel = kernel
        self._host = host
        self._storage = storage
        self._log = log
        self._codec = codec
        self._scope = anyio.CancelScope()
        self._taken: dict[str, CommandOutcome | None] = {}
        self._replies: dict[str, float] = {}
        self._strangers: set[str] = set()
        self._strangers_before: set[str] = set()
        self._fails = False

    async def begin(self, every: float) -> None:
        """Take what is there, and go on looking every so many seconds.

        Raises:
            StorageError: the inbox cannot be read.
        """
        with suppress(SchedulerStopped):  # the kernel was halted while it started
            await self.take()
        self._kernel.start_soon(self._run, every)

    async def take(self) -> None:
        """Do what was posted, oldest first.

        Raises:
            SchedulerStopped: the kernel takes nothing any more; what is left stays where it is.
            StorageError: the inbox cannot be read.
        """
        found = await self._storage.posted(self._log.run_id)
        listed = {message.message_id for message in found}
        known = set(map(command_name, self._host.taken_commands()))
        self._taken = dict.fromkeys(known - listed)
        self._replies = {name: at for name, at in self._replies.items() if name in listed}
        self._strangers_before, self._strangers = self._strangers, set()
        for message in found:
            self._take(message)
            await checkpoint()  # however many there are

    def _take(self, message: PostedMessage) -> None:
        name = None if message.damage else parse_name(message.message_id)
        if name is None:
            self._tell_of_stranger(message)
        elif name[0] == COMMAND:
            self._taken[message.message_id] = self._outcome(message, name[1])
        else:
            self._replies.setdefault(message.message_id, self._kernel.clock.monotonic())

    def _outcome(self, message: PostedMessage, command_id: str) -> CommandOutcome | None:
        """What came of a command, if somebody wants to know."""
        try:
            posted = decode_command(message.data, self._codec, self._log.run_id, command_id)
        except KernelCkptError as error:
            return self._host.refuse_command(command_id, error)
        outcome = self._host.take_command(posted)
        return outcome if posted.wants_reply else None

    def _tell_of_stranger(self, message: PostedMessage) -> None:
        """Tell, once, of what is no command and is left where it is."""
        why = message.damage or "not of kernelckpt"
        self._strangers.add(message.message_id or why)
        if (message.message_id or why) not in self._strangers_before:
            self._kernel.report("inbox_unreadable", message_id=message.message_id, error=why)

    async def settle(self, *, forget: bool = True) -> None:
        """Make durable what was taken, reply to those who wait, delete it, and forget it if asked to.

        Raises:
            CheckpointFailedError: it never will be durable.
            FencedError: the run was taken over.
            StorageError: the inbox cannot be changed now; it is tried again.
        """
        old = self._old_replies()
        if not self._taken and not old:
            return
        await self._wait_durable()
        for outcome in self._taken.values():
            if outcome is not None:
                await self._reply(outcome)
        await self._storage.delete_posted(self._log.run_id, [*self._taken, *old])
        gone, self._taken = self._taken, {}
        if forget:
            self._host.forget_commands([name.removeprefix(f"{COMMAND}/") for name in gone])

    async def _wait_durable(self) -> None:
        commit = self._kernel.commit_number
        if self._log.durable_commit < commit:
            self._log.request_flush("inbox")
            await self._log.wait_durable(commit)

    async def _reply(self, outcome: CommandOutcome) -> None:
        data = encode_posted(outcome, self._codec, self._log.run_id)
        await self._storage.post(self._log.run_id, reply_name(outcome.id), data)

    def _old_replies(self) -> Sequence[str]:
        now = self._kernel.clock.monotonic()
        return [name for name, seen in self._replies.items() if now - seen >= REPLY_SECONDS]

    async def _run(self, every: float) -> None:
        with self._scope:
            goes_on = await self._tried(self.settle)
            while goes_on:
                await self._kernel.clock.sleep(every)
                goes_on = await self._tried(self._look)

    async def _look(self) -> None:
        await self.take()
        await self.settle()

    async def _tried(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Whether to go on: not when nothing is taken any more. A log that has failed halts the kernel."""
        try:
            await step()
        except SchedulerStopped:
            return False
        except KernelCkptError as error:
            if not self._fails:  # told once for as long as it goes on
                self._kernel.report("inbox_failed", error=str(error))
            self._fails = True
        else:
            self._fails = False
        return self._log.failure is None

    def stop(self) -> None:
        """Look no more."""
        self._scope.cancel()

    async def finish(self) -> None:
        """Settle what was taken, as far as that can be done; the next start knows what is left."""
        with suppress(KernelCkptError):
            await self.settle(forget=False)
