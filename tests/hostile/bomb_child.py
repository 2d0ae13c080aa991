"""Gives bombs to all that reads, in little memory, and prints what each came to: `bomb_child.py FOLDER`.

A bomb is small and says that it is large, or becomes large when it is read. The address space is limited to
what is in use and some room; a reader that believes a bomb dies of it, or is stopped by the time.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from mutation import BOMBS
from peak import peak_mib
from typer.main import get_command

from kernelckpt import FileStorage, KernelSnapshot, load, verify
from kernelckpt.cli.app import app
from kernelckpt.codec.entry import decode_meta
from kernelckpt.codec.frame import ContainerDecoder
from kernelckpt.codec.record import RECORD_TYPES, decode_item, decode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import KernelCkptError
from kernelckpt.storage.file.record import decode_record as decode_file_record

ROOM_MIB = 192
"""What a reader may use on top; a bomb would take gigabytes."""

RUN = "run"
COMMAND = get_command(app)
LARGE = [
    b"\x90" * 1_000_000,
    b"\xdc\xff\xff" + b"\x80" * 65535,
    b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000,
    b"\xdf\x00\x0f\x42\x40" + b"\xa1a\xc0" * 300_000,
    b"\x91" * 1_000_000,
]
"""Such as become many objects, or a deep nest."""

TEXTS = [
    "[" * 1_000_000,
    '{"a":' * 200_000,
    '{"tasks": [' + "{}," * 200_000 + "{}]}",
    '{"tasks": ' + "9" * 1_000_000 + "}",
    '"' + "\\ud800" * 100_000 + '"',
    '{"turn": 1e' + "9" * 100_000 + "}",
]


def decoders() -> dict[str, Callable[[bytes], object]]:
    """What is called with bytes alone."""
    found: dict[str, Callable[[bytes], object]] = {
        "value": lambda data: ValueCodec().decode(data, "value"),
        "typed value": lambda data: ValueCodec(dict[str, list[int]]).decode(data, "value"),
        "container": walk,
        "metadata": lambda data: decode_meta(data, RUN, 1, 1),
        "file record": lambda data: decode_file_record(data, "kind", (int,), "file"),
        "history": lambda data: decode_item("history", data, "item"),
    }
    for kind in RECORD_TYPES:
        found[f"record {kind}"] = lambda data, kind=kind: decode_record((kind, "a", 1), data)
    return found


def walk(data: bytes) -> None:
    """Read a container to its end."""
    decoder = ContainerDecoder(b"", "container")
    list(decoder.feed(data))
    decoder.finish()


def fields() -> dict[str, Callable[[bytes], object]]:
    """Records that hold a bomb where plain data is allowed."""
    approval = msgspec.msgpack.encode({"task_id": "a", "key": "k"})
    return {
        "payload": lambda data: decode_record(
            ("approval", "a", 1), b"\x83" + approval[1:] + b"\xa7payload" + data
        ),
    }


async def in_files(folder: Path, bomb: bytes) -> dict[str, list[str]]:
    """Put a bomb into each file of a run, and read it in every way."""
    told = {}
    root = folder / "bombed"
    for path in sorted((folder / "state").rglob("*")):
        if not path.is_file():
            continue
        shutil.copytree(folder / "state", root, dirs_exist_ok=True)
        target = root / path.relative_to(folder / "state")
        target.write_bytes(bomb)
        target.with_name("blob.bomb").write_bytes(bomb)
        async with FileStorage(root) as storage:
            ways = (lambda s: load(s, RUN), lambda s: verify(s, RUN), lambda s: s.posted(RUN))
            told[path.name] = [await _told(lambda way=way: way(storage)) for way in ways]
        shutil.rmtree(root)
    return told


async def _told(read: Callable[[], Awaitable[object]]) -> str:
    try:
        await read()
    except KernelCkptError as error:
        return type(error).__name__
    return "read"


def refused(read: Callable[[], object]) -> str:
    """What reading came to, and how long it took in seconds."""
    begun = time.process_time()
    try:
        read()
        told = "read"
    except KernelCkptError as error:
        told = type(error).__name__
    seconds = time.process_time() - begun
    return told if seconds < 2 else f"took {seconds:.1f} s"


def command(folder: Path, bomb: bytes) -> str:
    """`kernelckpt show` on a run whose segment is a bomb."""
    root = folder / "shown"
    shutil.copytree(folder / "state", root)
    next(root.rglob("seg.*")).write_bytes(bomb)
    try:
        return f"exit code {COMMAND.main(['show', RUN, '--storage', f'file:{root}'], standalone_mode=False)}"
    finally:
        shutil.rmtree(root)


def main(folder: Path, extra_mib: int = 0) -> None:
    """Read bombs."""
    asyncio.run(in_files(folder, b"x"))
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = in_use + (ROOM_MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    told: dict[str, object] = {}
    for name, decode in (decoders() | fields()).items():
        told[name] = [refused(lambda data=data, d=decode: d(data)) for data in (*BOMBS, *LARGE)]
    told["json"] = [refused(lambda text=text: KernelSnapshot.from_json(text)) for text in TEXTS]
    told["files"] = [asyncio.run(in_files(folder, bomb)) for bomb in (*BOMBS[:6], *LARGE)]
    told["commands"] = [command(folder, bomb) for bomb in (BOMBS[0], *LARGE)]
    bytearray(extra_mib << 20)
    told["peak_mib"] = peak_mib()
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
