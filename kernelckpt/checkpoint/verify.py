"""Verifying a run: all that can be restored is read, and the newest checkpoint, or each, is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anyio import to_thread
from msgspec.structs import replace

from kernelckpt.abc import Key, StorageBackend
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.checkpoint.rehearsal import check_scheduler
from kernelckpt.checkpoint.remembering import RememberingStorage
from kernelckpt.checkpoint.state_check import StateCheck, check_state
from kernelckpt.checkpoint.verify_report import VerifyReport
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.codec.record import path_of
from kernelckpt.errors import CorruptionError, NotFoundError
from kernelckpt.kernel.scheduler import Scheduler
from kernelckpt.log import LoadedRun, list_checkpoints, read_run
from kernelckpt.log.listing import Listing

__all__ = ["Finding", "FindingKind", "VerifyReport", "verify"]

OnProgress = Callable[[int, int], None]
"""Told how many steps are done, and how many there are."""


async def verify(
    storage: StorageBackend,
    run_id: str,
    at: int | None = None,
    *,
    scheduler: Scheduler | None = None,
    all_checkpoints: bool = False,
    on_progress: OnProgress | None = None,
    keys: KeyRing | None = None,
) -> VerifyReport:
    """Check a run without owning it and without changing anything.

    All that is kept is read and compared with its digests: each chain of deltas, each base and what it
    refers to. Each base is compared with the state that the deltas before it give. Every record of the
    checkpoint `at` is decoded, and the records are checked against each other: parents, waits that something
    can end, calls, questions, phases, results, totals, the policy, and the view that the event log gives of
    the children. The state is loaded as a kernel does it, which must have a timer for all that waits for a
    time.

    Args:
        storage: where the run is kept.
        run_id: the run; its owner may be alive.
        at: the number of the checkpoint to end with; the newest by default.
        scheduler: one that is to go on from the state, and has not been entered. What a start with it would
            be refused for is found missing: programs, tools, closures, upgrades, phases. No program is run;
            upgrades are tried, in a worker thread. Its hooks are left alone.
        all_checkpoints: whether the state of each checkpoint that can be restored is checked like that of
            the last. Each is put together from its base on, so that this takes far longer; what is read for
            one is remembered for the others, up to 64 MiB.
        on_progress: told after each step.
        keys: those it is encrypted with; with keys, what is not encrypted is refused.

    Raises:
        UsageError: `scheduler` is none.
        NotFoundError: no such run, or no such checkpoint (any more).
        UnsupportedVersionError: it was written by a newer version.
        EncryptionError: it is not encrypted with a key at hand, or should be.
        StorageError: the storage cannot be used.
    """
    check_scheduler(scheduler)
    if all_checkpoints:
        storage = RememberingStorage(storage)
    verification = _Verification(storage, run_id, scheduler, on_progress, Codec(keys))
    return await verification.run(at, all_checkpoints=all_checkpoints)


class _Verification:
    """One verification, and what it has found so far."""

    def __init__(
        self,
        storage: StorageBackend,
        run_id: str,
        scheduler: Scheduler | None,
        on_progress: OnProgress | None,
        codec: Codec,
    ) -> None:
        self._storage = storage
        self._run_id = run_id
        self._scheduler = scheduler
        self._on_progress = on_progress
        self._codec = codec
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._bytes_read = 0
        self._states = 0
        self._bases = 0

    async def run(self, at: int | None, *, all_checkpoints: bool) -> VerifyReport:
        report = VerifyReport(run_id=self._run_id)
        self._compare_names()
        loaded = await self._read_target(at)
        if loaded is not None and not loaded.sequence:
            self._notes.append("nothing was saved yet")
        elif loaded is not None:
            sequence = loaded.sequence
            check = await self._check_state(loaded)
            self._notes += check.notes
            checkpoints = await self._check_checkpoints(sequence, all_checkpoints=all_checkpoints)
            report = _report(self._run_id, sequence, checkpoints, check)
        return replace(
            report,
            states=self._states,
            bases=self._bases,
            bytes_read=self._bytes_read,
            findings=tuple(self._findings),
            notes=tuple(self._notes),
        )

    def _compare_names(self) -> None:
        if self._scheduler is not None and self._scheduler.run_id != self._run_id:
            self._notes.append(f"the scheduler is one for run {self._scheduler.run_id!r}")

    async def _read_target(self, at: int | None) -> LoadedRun | None:
        try:
            loaded = await read_run(self._storage, self._run_id, at, "fall_back", codec=self._codec)
        except CorruptionError as error:
            self._damage(f"run {self._run_id!r}", error.message)
            return None
        self._bytes_read += loaded.bytes_read
        newest = at or loaded.newest
        for note in loaded.notes:
            self._damage(f"checkpoint {newest}", note, newest)
        if loaded.notes:
            self._notes.append(f"checkpoint {loaded.sequence} is the newest whole one: its state was checked")
        return loaded

    async def _check_state(self, loaded: LoadedRun) -> StateCheck:
        check = await to_thread.run_sync(check_state, loaded, self._scheduler, abandon_on_cancel=True)
        self._states += 1
        self._findings += check.findings
        return check

    async def _check_checkpoints(self, newest: int, *, all_checkpoints: bool) -> int:
        """Read every checkpoint but the newest; how many can be restored."""
        previous = await self._chain(newest)
        listed = await list_checkpoints(self._storage, self._run_id, codec=self._codec)
        kept = {info.sequence: info for info in listed if info.sequence <= newest}
        for number, info in kept.items():
            if info.damage and number in previous:
                self._damage(f"checkpoint {number}", info.damage, number)
        aside = sum(number not in previous for number in kept)
        if aside:
            self._notes.append(f"{aside} checkpoints were set aside when the run went on from an earlier one")
        whole = sorted(number for number, info in kept.items() if not info.damage and number in previous)
        steps = [number for number in whole if all_checkpoints or kept[number].kind == "base"]
        for done, number in enumerate(steps):
            self._progress(done, len(steps))
            if kept[number].kind == "base":
                await self._check_base(number, previous[number] if previous[number] in whole else None)
            if all_checkpoints and number != newest:
                await self._check_earlier(number)
        self._progress(len(steps), len(steps))
        return len(whole)

    async def _check_earlier(self, number: int) -> None:
        loaded = await self._read(number)
        if loaded is not None:
            await self._check_state(loaded)

    async def _chain(self, newest: int) -> dict[int, int]:
        """The predecessor of each entry on the chain that ends with `newest`, as far as it is kept."""
        listing = Listing(self._storage, self._run_id, self._codec)
        previous: dict[int, int] = {}
        link = await listing.get(newest)
        while link is not None:
            number = link.info.sequence
            before = await listing.before(number)
            named = link.meta.previous_sequence if link.meta is not None else 0
            previous[number] = named or (before.info.sequence if before is not None else 0)
            link = await listing.get(previous[number]) if previous[number] else None
        return previous

    async def _check_base(self, base: int, before: int | None) -> None:
        """Read a base, and compare it with what the deltas before it give."""
        state = await self._read(base)
        other = await self._read(before) if before is not None else None
        if state is None or other is None:
            return
        self._bases += 1
        differing = [*_differing(state.records, other.records), *_differing(state.streams, other.streams)]
        if differing:
            text = f"disagrees with the deltas before it: {', '.join(differing[:3])}"
            text += f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            self._findings.append(Finding(FindingKind.STATE, f"base {base}", text, base))

    async def _read(self, number: int) -> LoadedRun | None:
        try:
            loaded = await read_run(self._storage, self._run_id, number, codec=self._codec)
        except CorruptionError as error:
            self._damage(f"checkpoint {number}", error.message, number)
            return None
        except NotFoundError:
            self._notes.append(f"checkpoint {number} was pruned meanwhile")
            return None
        self._bytes_read += loaded.bytes_read
        return loaded

    def _damage(self, where: str, text: str, checkpoint: int = 0) -> None:
        found = Finding(FindingKind.DAMAGE, where, text, checkpoint)
        if found not in self._findings:  # a base is read twice when all states are checked
            self._findings.append(found)

    def _progress(self, done: int, steps: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done + 1, steps + 1)


def _differing(one: Mapping[Key, object], other: Mapping[Key, object]) -> list[str]:
    return [path_of(key) for key in {**one, **other} if one.get(key) != other.get(key)]


def _report(run_id: str, sequence: int, checkpoints: int, check: StateCheck) -> VerifyReport:
    return VerifyReport(
        run_id=run_id,
        sequence=sequence,
        checkpoints=checkpoints,
        records=check.records,
        messages=check.messages,
        tasks=check.tasks,
        live=check.live,
        turn=check.totals.turn,
        total_tokens=check.totals.total_tokens,
        cost_micros=check.totals.cost_micros,
    )
