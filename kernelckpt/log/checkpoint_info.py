"""One checkpoint, as it is listed."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.codec.entry import EntryMeta, Kind


class CheckpointInfo(Struct, frozen=True):
    """What is known of a checkpoint without reading it.

    Attributes:
        sequence: its number in the run.
        epoch: the owner that wrote it.
        kind: "delta", or "base" where a base was finished.
        wall_ms: milliseconds since 1970 when it was encoded; for display, never for order.
        turn: kernel turns so far.
        size: its length in bytes; for a base, with its blob.
        changes: how many records, removals and appends it holds.
        trigger: what asked for it.
        commit: the newest commit in it, in the process that wrote it; 0 when read back.
        damage: empty, or why it cannot be restored.
        key: the id of the key it is encrypted with; empty for none.
    """

    sequence: int
    epoch: int
    kind: Kind
    wall_ms: int
    turn: int
    size: int
    changes: int
    trigger: str
    commit: int = 0
    damage: str = ""
    key: str = ""

    @classmethod
    def of(
        cls, meta: EntryMeta, epoch: int, sequence: int, size: int, *, commit: int = 0, damage: str = ""
    ) -> CheckpointInfo:
        """The checkpoint that this entry is."""
        return cls(
            sequence=sequence,
            epoch=epoch,
            kind=meta.kind,
            wall_ms=meta.wall_ms,
            turn=meta.turn,
            size=size + (meta.state.size if meta.state else 0),
            changes=meta.changes,
            trigger=meta.trigger,
            commit=commit,
            damage=damage,
            key=meta.key,
        )
