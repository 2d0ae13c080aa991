"""The example in docs/format.md is what the package writes, byte by byte; print it by running this file."""

import asyncio
from pathlib import Path

import msgpack

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.codec import frame, version
from kernelckpt.log import RunLog
from kernelckpt.storage import MemoryStorage

DOC = Path(__file__).parents[2] / "docs" / "format.md"
ROW = 24


class FixedClock:
    def wall_ms(self):
        return 1_700_000_000_000

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        raise AssertionError


async def write_example():
    """Two entries and a base of a run named "demo"; returns what the storage holds, by title."""
    storage = MemoryStorage()
    log = await RunLog.open(storage, "demo", holder="example", clock=FixedClock())
    row, history = ("row", "c1", 0), ("history", "c1", 0)
    log.stage([Put(row, b"one"), Append(history, 0, (b"hello", b"world"))], 1, 1)
    await log.flush("turn")
    log.stage([Remove(("inbox", "c1", 7)), Put(row, b"two")], 2, 2)
    await log.flush("turn")
    await log.write_base(iter([(row, b"two"), (history, None)]))
    parts = {}
    for info in await storage.list_entries("demo"):
        parts[f"entry {info.sequence}"] = await storage.read("demo", info.epoch, info.sequence)
        parts[f"metadata of entry {info.sequence}"] = info.meta
    for blob in await storage.list_blobs("demo"):
        parts[f"blob {blob.name}"] = await storage.read_blob("demo", blob.name)
    await log.aclose()
    return parts


def render(title, data):
    """A dump: for each object its offset and bytes, then what it decodes to."""
    lines = [f"{title}, {len(data)} bytes"]
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    begin = 0
    for value in unpacker:
        end = unpacker.tell()
        for row in range(begin, end, ROW):
            lines.append(f"{row:5}  {data[row : min(row + ROW, end)].hex(' ')}")
        lines.append(f"       = {show(value)}")
        begin = end
    return "\n".join(lines)


def show(value):
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, bytes):
        return value.hex() if len(value) == 16 else repr(value)
    return "nil" if value is None else repr(value).replace("'", '"')


def example():
    return "\n\n".join(render(*part) for part in asyncio.run(write_example()).items())


def test_the_example_is_what_is_written():
    begin, end = "```text\n", "\n```"
    shown = DOC.read_text().split("## Example", 1)[1].split(begin, 1)[1].split(end, 1)[0]
    assert shown == example()


def test_the_numbers_in_the_document_are_those_of_the_package():
    text = DOC.read_text()
    assert f"Format version {version.FORMAT_VERSION}" in text
    for name, value in {"records": frame.RECORDS, "items": frame.ITEMS, "streams": frame.STREAMS}.items():
        assert f"| {value} | {name} |" in text
    assert f"| {frame.BASE} | base |" in text
    assert f"{frame.MAX_PAYLOAD_BYTES // 2**20} MiB" in text


if __name__ == "__main__":
    print(example())
