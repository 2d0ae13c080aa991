"""Which runs one client of Redis owns; while it does, a key that expires says that it is alive."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import anyio

from kernelckpt.abc import Claim
from kernelckpt.errors import FencedError, StorageError
from kernelckpt.storage import refusal
from kernelckpt.storage.redis.key import RunKeys
from kernelckpt.storage.redis.removal import sweep
from kernelckpt.storage.redis.script import CLAIM, LEAVE, RELEASE, RENEW
from kernelckpt.storage.redis.server import RedisServer
from kernelckpt.storage.text import bytes_text, text_bytes

ALIVE_MS = 20_000
"""How long an owner counts as alive after it was last heard of."""

_RENEW_SECONDS = 5.0
_CLOSE_SECONDS = 5.0


class RedisOwner:
    """Acquires runs, keeps them, and gives them up.

    Attributes:
        token: tells this client from all others.
    """

    def __init__(
        self, server: RedisServer, prefix: str, *, sleep: Callable[[float], Awaitable[object]] = anyio.sleep
    ) -> None:
        """Own nothing yet; `sleep` waits until the next renewal."""
        self.token = secrets.token_hex(16)
        self._server = server
        self._prefix = prefix
        self._sleep = sleep
        self._epochs: dict[str, int] = {}
        self._asked: set[str] = set()
        self._known: dict[str, tuple[bytes, int]] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False

    async def claim(
        self, run_id: str, holder: str, *, takeover: bool = False, wanted: Claim | None = None
    ) -> Claim:
        """Become the owner of a run, under the next epoch or the wanted claim."""
        keys = RunKeys(self._prefix, run_id)
        self._asked.add(run_id)  # whoever is cancelled, or loses the answer, may own it all the same
        word, found = await self._try_claim(keys, run_id, holder, takeover, wanted)
        while word == "deleted":
            await sweep(self._server, keys, found[0])
            word, found = await self._try_claim(keys, run_id, holder, takeover, wanted)
        if word == "owned":
            raise refusal.owned(run_id, bytes_text(found[0]))
        if word == "behind":
            raise refusal.behind(self._server.name, run_id, int(found[0]), int(found[1]))
        claim, born = Claim(int(found[0]), int(found[1])), found[2]
        known = self._known.get(run_id)
        if known is not None and known[0] == born and claim.head < known[1]:
            await self._server.run(RELEASE, (keys.run, keys.alive), claim.epoch, self.token)
            raise self._lost(run_id, f"is at entry {claim.head}")
        if self._closed:
            raise refusal.closed(self._server.name)
        self._epochs[run_id] = claim.epoch
        self._known[run_id] = (born, claim.head)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_all())
        return claim

    async def release(self, run_id: str, epoch: int) -> None:
        """Give a run up, if it is still owned under this epoch."""
        keys = RunKeys(self._prefix, run_id)
        if self._epochs.get(run_id) == epoch:
            del self._epochs[run_id]
        word, _ = await self._server.run(RELEASE, (keys.run, keys.alive), epoch, self.token)
        if word == "ok":
            self._asked.discard(run_id)

    def acknowledged(self, run_id: str, sequence: int) -> None:
        """Remember that an entry is there: the run cannot be behind it any more."""
        born, _ = self._known[run_id]
        self._known[run_id] = (born, sequence)

    def refused(self, run_id: str, epoch: int, word: str, found: Sequence[bytes]) -> FencedError:
        """Why an owner's call was refused: somebody took the run over, or the server lost something."""
        if self._epochs.get(run_id) == epoch:
            if word == "none":
                return self._lost(run_id, "is not there any more")
            if word == "fenced" and int(found[0]) < epoch:
                return self._lost(run_id, f"is at epoch {int(found[0])}, not {epoch}")
        return refusal.fenced(self._server.name, run_id, epoch)

    def not_next(self, run_id: str, sequence: int, head: int) -> FencedError:
        """Why an entry does not follow the head: the caller is wrong, or the server lost something."""
        if head < self._known[run_id][1]:
            return self._lost(run_id, f"is at entry {head}")
        return refusal.not_next(self._server.name, sequence, head)

    async def aclose(self) -> None:
        """Give everything up, as far as the server answers."""
        self._closed = True
        if self._renewing is not None:
            self._renewing.cancel()
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True), suppress(StorageError):
            for keys in [RunKeys(self._prefix, run_id) for run_id in self._asked]:
                await self._server.run(LEAVE, (keys.run, keys.alive), self.token)

    async def _try_claim(
        self, keys: RunKeys, run_id: str, holder: str, takeover: bool, wanted: Claim | None
    ) -> tuple[str, list[bytes]]:
        return await self._server.run(
            CLAIM,
            (keys.run, keys.alive, f"{self._prefix}:runs".encode(), f"{self._prefix}:layout".encode()),
            self.token,
            ALIVE_MS,
            text_bytes(holder),
            int(takeover),
            secrets.token_hex(16),
            text_bytes(run_id),
            *(() if wanted is None else (wanted.epoch, wanted.head)),
        )

    async def _renew_all(self) -> None:
        while True:
            await self._sleep(_RENEW_SECONDS)
            with suppress(StorageError):  # the next time may be better; if none is, others may take over
                for run_id, epoch in list(self._epochs.items()):
                    await self._renew(run_id, epoch)

    async def _renew(self, run_id: str, epoch: int) -> None:
        keys = RunKeys(self._prefix, run_id)
        word, found = await self._server.run(RENEW, (keys.run, keys.alive), epoch, self.token, ALIVE_MS)
        if word == "fenced" and int(found[0]) > epoch == self._epochs.get(run_id):
            del self._epochs[run_id]

    def _lost(self, run_id: str, what: str) -> FencedError:
        known = self._known[run_id][1]
        return FencedError(
            f"{self._server.name}: run {run_id[:200]!r} {what}, though entry {known} had been acknowledged: "
            "the server lost it, or the run was deleted",
            hint="was the server emptied, or replaced by a replica that was behind? look before going on",
        )
