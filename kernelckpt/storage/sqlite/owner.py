"""Who owns the runs of an SQLite storage: the token of the newest grant decides, in the database."""

from __future__ import annotations

from secrets import randbits

from msgspec import Struct, structs

from kernelckpt.abc import Claim
from kernelckpt.storage import refusal
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.sqlite.file import SqliteFile
from kernelckpt.storage.sqlite.lock import Held, OwnerFiles
from kernelckpt.storage.sqlite.row import Rows, RunRow
from kernelckpt.storage.text import text_bytes

_BITS = 62
_HOLDER_CHARACTERS = 1000


class _Owned(Struct, frozen=True):
    epoch: int
    held: Held


class Ownership:
    """What one storage owns, and what others do; of the thread that writes."""

    def __init__(self, name: str, ops: FileOps, database: str) -> None:
        """Own nothing; `name` is the storage's, for messages."""
        self._name = name
        self._files = OwnerFiles(ops, database)
        self._owned: dict[str, _Owned] = {}

    def acquire(
        self, run_id: str, holder: str, wanted: Claim | None, file: SqliteFile, *, takeover: bool
    ) -> Claim:
        """See `StorageBackend.acquire`; under the wanted claim, if there is one, see `acquire_as`."""
        db = file.made()
        own = self._owned.get(run_id)
        held = self._files.hold(randbits(_BITS) + 1)
        try:
            with file.transaction(db, write=True):
                rows = Rows(db, self._name)
                run = rows.find_run(run_id) or RunRow(text_bytes(run_id), randbits(_BITS))
                # The end of a damaged log looks like one that never was: what is lost is listed as missing.
                run = structs.replace(run, head=max(run.head, self._files.marked(run.owner)))
                claim = wanted or Claim(run.epoch + 1, run.head)
                if claim.epoch < run.epoch or claim.head < run.head:
                    raise refusal.behind(self._name, run_id, run.epoch, run.head)
                if not takeover and (own is None or own.held.token != run.owner):
                    self.refuse_alive(run_id, run)
                rows.put_run(_granted(rows.delete_unfinished(run), claim, holder, held))
        except BaseException:
            self._files.let_go(held)
            raise
        self.forget(run.owner)
        self._owned[run_id] = _Owned(claim.epoch, held)
        if own is not None:
            self._files.let_go(own.held)
        return claim

    def check(self, run_id: str, epoch: int, run: RunRow | None = None) -> None:
        """Raise `FencedError` unless the epoch is held here and, if the run was read, is its newest one."""
        own = self._owned.get(run_id)
        if own is None or own.epoch != epoch or (run is not None and run.owner != own.held.token):
            raise refusal.fenced(self._name, run_id, epoch)

    def mark(self, run_id: str, head: int) -> None:
        """Keep outside of the database what was acknowledged."""
        if own := self._owned.get(run_id):
            self._files.mark(own.held, head)

    def refuse_alive(self, run_id: str, run: RunRow) -> None:
        """Raise `RunOwnedError` when the owner of a run is alive."""
        if self._files.is_alive(run.owner):
            raise refusal.owned(run_id, run.holder.decode("utf-8", "replace"))

    def forget(self, token: int) -> None:
        """Remove what an owner that was killed or replaced has left beside the database."""
        self._files.remove(token)

    def release(self, run_id: str, epoch: int) -> None:
        """See `StorageBackend.release`."""
        own = self._owned.get(run_id)
        if own is not None and own.epoch == epoch:
            self._files.let_go(self._owned.pop(run_id).held)

    def release_all(self) -> None:
        """Own nothing any more."""
        while self._owned:
            self._files.let_go(self._owned.popitem()[1].held)
        self._files.remove_folder()

    def leave_to_parent(self) -> None:
        """In a forked child: own nothing; the locks stay with the parent."""
        while self._owned:
            self._files.leave_to_parent(self._owned.popitem()[1].held)


def _granted(run: RunRow, claim: Claim, holder: str, held: Held) -> RunRow:
    return structs.replace(
        run,
        epoch=claim.epoch,
        head=claim.head,
        removed=claim.head if claim.head > run.head else run.removed,
        owner=held.token,
        holder=text_bytes(holder[:_HOLDER_CHARACTERS]),
    )
