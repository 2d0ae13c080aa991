"""Stands in for the next release, whose format has changed: it goes on with a run of the present one.

`python next_release.py FOLDER`, where the golden run `life` lies. In its format the texts of a history end
in an exclamation mark. It prints the state that it found, ends the run, and leaves it in its own format.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.abc import Loader
from importlib.machinery import PathFinder, SourceFileLoader

VERSION = "kernelckpt.codec.version"


class NextVersion(SourceFileLoader):
    """Loads the module that says which format is written, and raises what it says."""

    def exec_module(self, module):
        super().exec_module(module)
        module.UPGRADES = {**module.UPGRADES, module.FORMAT_VERSION: louder}
        module.FORMAT_VERSION += 1


class Finder:
    """Puts `NextVersion` in place of the ordinary loader of that one module."""

    def find_spec(self, name, path, target=None):
        if name != VERSION:
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader = loader = NextVersion(name, spec.origin)
        assert isinstance(loader, Loader)
        return spec


def louder(changes):
    """The step: every message of a history ends in an exclamation mark."""
    from kernelckpt.abc import Append
    from kernelckpt.codec.record import decode_message, encode_record

    upgraded = []
    for change in changes:
        if isinstance(change, Append) and change.key[0] == "history":
            items = tuple(encode_record(shout(decode_message(item))) for item in change.items)
            change = Append(change.key, change.start, items)  # noqa: PLW2901 - the same change, upgraded
        upgraded.append(change)
    return upgraded


def shout(message):
    """A message whose text is louder; one without text stays."""
    from msgspec.structs import replace

    return replace(message, content=message.content + "!") if isinstance(message.content, str) else message


async def main(folder: str) -> None:
    """Go on with the run, and end it."""
    import life

    from kernelckpt import CheckpointHook, FileStorage, load
    from kernelckpt.testing import ManualClock

    async with FileStorage(folder) as storage:
        found = await load(storage, life.RUN)
        async with life.kernel_of(CheckpointHook(storage, every=None), clock=ManualClock()) as kernel:
            ends = await life.finish(kernel)
        again = await load(storage, life.RUN)
    print(json.dumps({"found": found.to_dict(), "again": again.to_dict(), "ends": ends}))


if __name__ == "__main__":
    sys.meta_path.insert(0, Finder())
    asyncio.run(main(sys.argv[1]))
