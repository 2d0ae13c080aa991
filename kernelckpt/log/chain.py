"""Which entries add up to a state: from a target back along the predecessors to the newest usable base."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from kernelckpt.codec.entry import EntryMeta
from kernelckpt.log.entry_encoder import Tip
from kernelckpt.log.listing import Link, Listing


class Damage(Exception):  # noqa: N818 - it is caught here and told on as a CorruptionError
    """A state cannot be read because of one entry.

    Attributes:
        sequence: the entry.
        reason: what is wrong with it.
        missing: it, or something it needs, is not there; pruning may be the cause.
        base: only the base is bad; the entry itself is a sound part of the chain.
    """

    def __init__(self, sequence: int, reason: str, *, missing: bool = False, base: bool = False) -> None:
        """Keep the facts."""
        super().__init__(f"entry {sequence}: {reason}")
        self.sequence = sequence
        self.reason = reason
        self.missing = missing
        self.base = base


class ChainEntry(Struct, frozen=True):
    """An entry on the chain, its metadata sound."""

    link: Link
    meta: EntryMeta

    @property
    def sequence(self) -> int:
        """Its number."""
        return self.link.info.sequence

    @property
    def previous(self) -> Tip:
        """The entry it follows."""
        return Tip(self.meta.previous_epoch, self.meta.previous_sequence, self.meta.previous_digest)

    @property
    def tip(self) -> Tip:
        """What a successor names."""
        return Tip(self.link.info.epoch, self.link.info.sequence, self.meta.digest)


class Plan(Struct, frozen=True):
    """What to read for a state: a base, or None to begin with nothing; then entries, oldest first."""

    target: ChainEntry
    base: ChainEntry | None
    entries: tuple[ChainEntry, ...]


async def chain_entry(listing: Listing, sequence: int, expected: Tip | None = None) -> ChainEntry:
    """The entry of that number.

    Args:
        listing: the entries.
        sequence: the number.
        expected: how its successor names it, if it has one.

    Raises:
        Damage: it is missing, damaged, or not the one its successor names.
        EncryptionError: it is not encrypted with a key at hand, or should be.
    """
    link = await listing.get(sequence)
    if link is None:
        raise Damage(sequence, "it is missing", missing=True)
    if link.locked is not None:
        raise link.locked
    if link.meta is None or (link.damage and not link.is_base):
        raise Damage(sequence, link.damage)
    entry = ChainEntry(link, link.meta)
    if expected is not None and entry.tip != expected:
        raise Damage(sequence, "it is not the entry its successor names")
    return entry


async def plan(listing: Listing, target: int, *, bad_bases: Collection[int] = ()) -> Plan:
    """What to read for the state as of `target`.

    Args:
        listing: the entries.
        target: the number of the entry that the state ends with.
        bad_bases: numbers of bases not to be used.

    Raises:
        Damage: an entry on the way is missing or damaged.
    """
    end = entry = await chain_entry(listing, target)
    base: ChainEntry | None = None
    floor = 0
    entries = []
    while True:
        entries.append(entry)
        if base is None and entry.meta.state is not None and entry.sequence not in bad_bases:
            if entry.link.damage:
                raise Damage(entry.sequence, entry.link.damage, base=True)
            base = entry
            floor = entry.meta.state.since
        before = entry.previous
        if before.sequence <= floor:
            break
        entry = await chain_entry(listing, before.sequence, before)
    if before.sequence != floor:
        at = base.sequence if base is not None else entry.sequence
        raise Damage(at, f"entry {floor}, which it rests on, is not on its chain", base=base is not None)
    return Plan(end, base, tuple(reversed(entries)))
