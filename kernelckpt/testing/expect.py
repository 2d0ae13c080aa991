"""What the conformance suite says instead of `pytest.raises`, so that it needs no test runner of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

from kernelckpt.abc import Claim, EntryInfo, StorageBackend

StorageFactory: TypeAlias = Callable[[], Awaitable[StorageBackend]]
"""Opens another client of one store, which is empty when the test begins."""

ODD_NAMES = (
    "plain",
    "Plain",
    "with space",
    "a/b",
    "a\\b",
    "a-b",
    "..",
    "../../etc/passwd",
    ".",
    "/",
    "-rf",
    "~",
    "*",
    "%2F",
    "'; drop table runs; --",
    "line\nbreak",
    "nul\0inside",
    "ünïcödé ✓ 語",
    "e\u0301",
    "\u00e9",
    "lone \ud800 surrogate",
    "lone \udcff surrogate",
    "x" * 300,
    "x" * 299 + "y",
)
"""Ids that a careless backend mixes up, cuts off or follows out of its folder."""


class Refusal:
    """What `refused` caught.

    Attributes:
        error: the error; set when the block has ended.
    """

    error: BaseException


@contextmanager
def refused(*kinds: type[BaseException]) -> Iterator[Refusal]:
    """Assert that the block raises an error of one of these kinds."""
    refusal = Refusal()
    try:
        yield refusal
    except kinds as error:
        refusal.error = error
        return
    raise AssertionError(f"should have raised {' or '.join(kind.__name__ for kind in kinds)}")


@asynccontextmanager
async def owned_run(
    factory: StorageFactory, run_id: str = "run"
) -> AsyncIterator[tuple[StorageBackend, Claim]]:
    """A client that owns a run."""
    async with await factory() as storage:
        yield storage, await storage.acquire(run_id, "the test")


async def append_some(storage: StorageBackend, claim: Claim, count: int, run_id: str = "run") -> None:
    """Add so many entries of a few bytes after the claim's head."""
    for sequence in range(claim.head + 1, claim.head + count + 1):
        await storage.append(run_id, claim.epoch, sequence, [b"entry ", b"%d" % sequence], b"%d" % sequence)


async def list_all(storage: StorageBackend, run_id: str = "run") -> Sequence[EntryInfo]:
    """Every entry that is listed."""
    found: list[EntryInfo] = []
    while page := await storage.list_entries(run_id, after=found[-1].sequence if found else 0):
        found.extend(page)
    return found


async def sequences(storage: StorageBackend, run_id: str = "run") -> list[int]:
    """The numbers of every entry that is listed."""
    return [entry.sequence for entry in await list_all(storage, run_id)]


async def write_blob(
    storage: StorageBackend, claim: Claim, name: str, parts: Sequence[bytes], run_id: str = "run"
) -> None:
    """Write and finish a blob of these parts."""
    for index, part in enumerate(parts):
        await storage.write_part(run_id, claim.epoch, name, index, [part])
    await storage.finish_blob(run_id, claim.epoch, name)


async def check_entries(storage: StorageBackend, bodies: Mapping[int, bytes], run_id: str = "run") -> None:
    """Assert that these entries are listed and no others, each with its bytes."""
    listed = await list_all(storage, run_id)
    assert [entry.sequence for entry in listed] == sorted(bodies)
    for entry in listed:
        assert await storage.read(run_id, entry.epoch, entry.sequence) == bodies[entry.sequence]


def as_bytes(text: str) -> bytes:
    """Any text as bytes, also where it is no proper Unicode."""
    return text.encode("utf-8", "surrogatepass")
