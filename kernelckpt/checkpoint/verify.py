"""Verifying a run: every checkpoint that can be restored is read, and the newest is checked as a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.abc import Key, StorageBackend
from kernelckpt.checkpoint.consistency import inconsistencies
from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.checkpoint.load import snapshot_of_run
from kernelckpt.codec.record import path_of
from kernelckpt.errors import CorruptionError, FormatError, NotFoundError
from kernelckpt.log import LoadedRun, list_checkpoints, read_run
from kernelckpt.log.listing import Listing
from kernelckpt.model.kernel import KernelTotals

__all__ = ["Finding", "FindingKind", "VerifyReport", "verify"]

OnProgress = Callable[[int, int], None]
"""Told how many steps are done, and how many there are."""


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What verification looked at, and what it found.

    Attributes:
        run_id: the run.
        sequence: the checkpoint whose state was checked; 0 when there is none.
        checkpoints: how many checkpoints can be restored.
        bases: how many bases were compared with the deltas before them.
        records: how many records the state has.
        messages: how many messages its contexts hold.
        tasks: how many tasks it has.
        live: how many of them have not ended.
        turn: kernel turns so far.
        total_tokens: tokens spent so far.
        cost_micros: money spent so far.
        bytes_read: how much was read.
        findings: what is wrong.
        notes: what is not wrong, but worth knowing.
    """

    run_id: str
    sequence: int = 0
    checkpoints: int = 0
    bases: int = 0
    records: int = 0
    messages: int = 0
    tasks: int = 0
    live: int = 0
    turn: int = 0
    total_tokens: int = 0
    cost_micros: int = 0
    bytes_read: int = 0
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


async def verify(
    storage: StorageBackend, run_id: str, at: int | None = None, *, on_progress: OnProgress | None = None
) -> VerifyReport:
    """Check a run without owning it and without changing anything.

    All that is kept is read and compared with its digests: each chain of deltas, each base and what it
    refers to. Each base is compared with the state that the deltas before it give. Every record of the
    checkpoint `at` is decoded, and the records are checked against each other: parents, joins, waits that
    something can end, results, totals, and the view that the event log gives of the children.

    Args:
        storage: where the run is kept.
        run_id: the run; its owner may be alive.
        at: the number of the checkpoint to end with; the newest by default.
        on_progress: told after each step.

    Raises:
        NotFoundError: no such run, or no such checkpoint (any more).
        UnsupportedVersionError: it was written by a newer version.
        StorageError: the storage cannot be used.
    """
    return await _Verification(storage, run_id, at, on_progress).run()


class _Verification:
    """One verification, and what it has found so far."""

    def __init__(
        self, storage: StorageBackend, run_id: str, at: int | None, on_progress: OnProgress | None
    ) -> None:
        self._storage = storage
        self._run_id = run_id
        self._at = at
        self._on_progress = on_progress
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._bytes_read = 0

    async def run(self) -> VerifyReport:
        report = VerifyReport(run_id=self._run_id)
        loaded = await self._read_target()
        if loaded is not None and not loaded.sequence:
            self._notes.append("nothing was saved yet")
        elif loaded is not None:
            report = await to_thread.run_sync(_check_state, loaded, abandon_on_cancel=True)
            loaded.drop_state()
            report = await self._check_checkpoints(report)
        return replace(
            report,
            bytes_read=self._bytes_read,
            findings=(*self._findings, *report.findings),
            notes=tuple(self._notes),
        )

    async def _read_target(self) -> LoadedRun | None:
        try:
            loaded = await read_run(self._storage, self._run_id, self._at, "fall_back")
        except CorruptionError as error:
            self._damage(f"run {self._run_id!r}", error)
            return None
        self._bytes_read += loaded.bytes_read
        self._findings += [
            Finding(FindingKind.DAMAGE, f"checkpoint {self._at or loaded.newest}", note)
            for note in loaded.notes
        ]
        if loaded.notes:
            self._notes.append(f"checkpoint {loaded.sequence} is the newest whole one: its state was checked")
        return loaded

    async def _check_checkpoints(self, report: VerifyReport) -> VerifyReport:
        previous = await self._chain(report.sequence)
        listed = await list_checkpoints(self._storage, self._run_id)
        kept = {info.sequence: info for info in listed if info.sequence <= report.sequence}
        for number, info in kept.items():
            if info.damage and number in previous:
                self._findings.append(Finding(FindingKind.DAMAGE, f"checkpoint {number}", info.damage))
        aside = sum(number not in previous for number in kept)
        if aside:
            self._notes.append(f"{aside} checkpoints were set aside when the run went on from an earlier one")
        whole = {number for number, info in kept.items() if not info.damage and number in previous}
        bases = [number for number in sorted(whole) if kept[number].kind == "base"]
        compared = 0
        for step, base in enumerate(bases):
            self._progress(step, len(bases))
            before = previous[base] if previous[base] in whole else None
            compared += await self._check_base(base, before)
        self._progress(len(bases), len(bases))
        return replace(report, checkpoints=len(whole), bases=compared)

    async def _chain(self, newest: int) -> dict[int, int]:
        """The predecessor of each entry on the chain that ends with `newest`, as far as it is kept."""
        listing = Listing(self._storage, self._run_id)
        previous: dict[int, int] = {}
        link = await listing.get(newest)
        while link is not None:
            number = link.info.sequence
            before = await listing.before(number)
            named = link.meta.previous_sequence if link.meta is not None else 0
            previous[number] = named or (before.info.sequence if before is not None else 0)
            link = await listing.get(previous[number]) if previous[number] else None
        return previous

    async def _check_base(self, base: int, before: int | None) -> bool:
        """Read a base, and compare it with what the deltas before it give; whether it was compared."""
        state = await self._read(base)
        other = await self._read(before) if before is not None else None
        if state is None or other is None:
            return False
        differing = [*_differing(state.records, other.records), *_differing(state.streams, other.streams)]
        if differing:
            text = f"disagrees with the deltas before it: {', '.join(differing[:3])}"
            text += f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            self._findings.append(Finding(FindingKind.STATE, f"base {base}", text))
        return True

    async def _read(self, number: int) -> LoadedRun | None:
        try:
            loaded = await read_run(self._storage, self._run_id, number)
        except CorruptionError as error:
            self._damage(f"checkpoint {number}", error)
            return None
        except NotFoundError:
            self._notes.append(f"checkpoint {number} was pruned meanwhile")
            return None
        self._bytes_read += loaded.bytes_read
        return loaded

    def _damage(self, where: str, error: CorruptionError) -> None:
        self._findings.append(Finding(FindingKind.DAMAGE, where, error.message))

    def _progress(self, done: int, steps: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done + 1, steps + 1)


def _differing(one: Mapping[Key, object], other: Mapping[Key, object]) -> list[str]:
    return [path_of(key) for key in {**one, **other} if one.get(key) != other.get(key)]


def _check_state(loaded: LoadedRun) -> VerifyReport:
    run = DecodedRun(loaded)
    findings = [*run.findings, *inconsistencies(run, loaded.turn)]
    if not findings:
        try:
            snapshot_of_run(loaded)
        except FormatError as error:
            findings.append(Finding(FindingKind.STATE, f"checkpoint {loaded.sequence}", error.message))
    totals = run.totals or KernelTotals()
    return VerifyReport(
        run_id=loaded.run_id,
        sequence=loaded.sequence,
        records=len(loaded.records),
        messages=run.messages,
        tasks=len(run.rows),
        live=sum(not row.state.is_terminal() for row in run.rows.values()),
        turn=totals.turn,
        total_tokens=totals.total_tokens,
        cost_micros=totals.cost_micros,
        findings=tuple(findings),
    )
