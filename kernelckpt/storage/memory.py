"""Process memory as a storage: for tests, and for runs that need not outlive the process."""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

import weakref
from collections.abc import Sequence

from anyio.lowlevel import checkpoint
from msgspec import Struct, field

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_entry, check_name, check_page, check_part, check_range
from kernelckpt.storage.url import memory_name


class _Run(Struct):
    """One run. Whoever owns it is alive while its client is open and referenced."""

    epoch: int = 0
    head: int = 0
    owner: weakref.ref[MemoryStorage] | None = None
    holder: str = ""
    entries: dict[int, tuple[EntryInfo, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, list[bytes]] = field(default_factory=dict)
    inbox: dict[str, PostedMessage] = field(default_factory=dict)
    posted: int = 0


class MemoryState:
    """What `MemoryStorage` clients share: the runs of one store."""

    def __init__(self) -> None:
        """Hold no run."""
        self.runs: dict[str, _Run] = {}


_named: dict[str, MemoryState] = {}


async def open_memory(url: str) -> MemoryStorage:
    """Open the storage of a `memory:` URL: a fresh one, or the process's one of that name."""
    name = memory_name(url)
    state = _named.setdefault(name, MemoryState()) if name else MemoryState()
    return MemoryStorage(state, name=name)


class MemoryStorage(StorageBackend):
    """Runs kept in memory; several clients may share one state and race for its runs."""

    durable = False

    def __init__(self, state: MemoryState | None = None, *, name: str = "") -> None:
        """Open a client of a state; of one of its own when none is given."""
        self.name = f"memory:{name}"
        self._state = state or MemoryState()
        self._closed = False

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        check_name(run_id, "run id")
        await self._begin()
        run = self._state.runs.setdefault(run_id, _Run())
        return self._grant(run_id, run, holder, Claim(run.epoch + 1, run.head), takeover=takeover)

    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        check_name(run_id, "run id")
        await self._begin()
        run = self._state.runs.get(run_id, _Run())
        if claim.epoch < run.epoch or claim.head < run.head:
            raise refusal.behind(self.name, run_id, run.epoch, run.head)
        self._grant(run_id, self._state.runs.setdefault(run_id, run), holder, claim)

    async def release(self, run_id: str, epoch: int) -> None:
        await self._begin()
        run = self._state.runs.get(run_id)
        if run is not None and run.epoch == epoch and self._owns(run):
            run.owner = None

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        check_entry(entry, meta)
        await self._begin()
        run = self._owned(run_id, epoch)
        if sequence != run.head + 1:
            raise refusal.not_next(self.name, sequence, run.head)
        body = b"".join(entry)
        run.entries[sequence] = (EntryInfo(epoch, sequence, len(body), meta), body)
        run.head = sequence

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(after, limit)
        await self._begin()
        entries = self._run(run_id).entries
        return [entries[sequence][0] for sequence in sorted(entries) if sequence > after][:limit]

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        check_range(offset, length)
        await self._begin()
        found = self._run(run_id).entries.get(sequence)
        if found is None or found[0].epoch != epoch:
            raise refusal.no_entry(self.name, epoch, sequence)
        return _cut(found[1], offset, length)

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        check_name(name, "blob name")
        await self._begin()
        run = self._owned(run_id, epoch)
        self._refuse_taken(run, name)
        check_part(index, len(run.parts.get(name, ())), data)
        run.parts.setdefault(name, []).append(b"".join(data))

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        await self._begin()
        run = self._owned(run_id, epoch)
        self._refuse_taken(run, name)
        if name not in run.parts:
            raise refusal.no_parts(self.name, name)
        run.blobs[name] = b"".join(run.parts.pop(name))
        return BlobInfo(name, len(run.blobs[name]))

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        await self._begin()
        blob = self._run(run_id).blobs.get(name)
        if blob is None:
            raise refusal.no_blob(self.name, name)
        return _cut(blob, offset, length)

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        await self._begin()
        return [BlobInfo(name, len(blob)) for name, blob in sorted(self._run(run_id).blobs.items())]

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        await self._begin()
        run = self._owned(run_id, epoch)
        for entry in entries:
            run.entries.pop(entry.sequence, None)
        for name in blobs:
            run.blobs.pop(name, None)
            run.parts.pop(name, None)

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        check_name(message_id, "message id")
        await self._begin()
        run = self._run(run_id)
        if message_id in run.inbox:
            return False
        run.posted += 1
        run.inbox[message_id] = PostedMessage(message_id, run.posted, data)
        return True

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        await self._begin()
        return list(self._run(run_id).inbox.values())

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        await self._begin()
        for message_id in message_ids:
            self._run(run_id).inbox.pop(message_id, None)

    async def list_runs(self) -> Sequence[str]:
        await self._begin()
        return sorted(self._state.runs)

    async def delete_run(self, run_id: str) -> None:
        await self._begin()
        run = self._run(run_id)
        if run.owner is not None and run.owner() is not None:
            raise refusal.owned(run_id, run.holder)
        del self._state.runs[run_id]

    async def aclose(self) -> None:
        self._closed = True
        for run in self._state.runs.values():
            if self._owns(run):
                run.owner = None

    async def _begin(self) -> None:
        """Give other tasks a turn, then refuse if closed; what follows happens in one go."""
        await checkpoint()
        if self._closed:
            raise refusal.closed(self.name)

    def _grant(self, run_id: str, run: _Run, holder: str, claim: Claim, *, takeover: bool = False) -> Claim:
        if not takeover and run.owner is not None and run.owner() not in (None, self):
            raise refusal.owned(run_id, run.holder)
        run.epoch, run.head, run.holder, run.owner = claim.epoch, claim.head, holder, weakref.ref(self)
        run.parts.clear()
        return claim

    def _owns(self, run: _Run) -> bool:
        return run.owner is not None and run.owner() is self

    def _run(self, run_id: str) -> _Run:
        run = self._state.runs.get(run_id)
        if run is None:
            raise refusal.no_run(self.name, run_id)
        return run

    def _owned(self, run_id: str, epoch: int) -> _Run:
        run = self._state.runs.get(run_id)
        if run is None or run.epoch != epoch or not self._owns(run):
            raise refusal.fenced(self.name, run_id, epoch)
        return run

    def _refuse_taken(self, run: _Run, name: str) -> None:
        if name in run.blobs:
            raise refusal.name_taken(name)


def _cut(data: bytes, offset: int, length: int | None) -> bytes:
    return data[offset:] if length is None else data[offset : offset + length]
