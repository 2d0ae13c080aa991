"""Peaks of memory, each measured in a process of its own: of a base, and of a pickle."""

from __future__ import annotations

import pickle
import tempfile
from typing import Any

from benchmarks.kit.peak import Peak, settled_bytes
from benchmarks.kit.process import memory_bytes, peak_bytes
from benchmarks.kit.text import distinct_text
from benchmarks.sides.agents import MeasuredHook, kernel_of, populate


async def base(mebibytes: Any) -> Peak:
    """While a base is written of a table whose contexts are this large."""
    with tempfile.TemporaryDirectory() as folder:
        hook = MeasuredHook(f"file:{folder}", every=None)
        empty = memory_bytes()
        async with kernel_of(hook) as kernel:
            await populate(kernel, mebibytes * 1024 // 10, 10)
            state = settled_bytes()
            await hook.base()
            return Peak(state - empty, peak_bytes() - state)


async def whole(mebibytes: Any) -> Peak:
    """While messages of this size are pickled in one piece."""
    empty = memory_bytes()
    messages = [distinct_text(number) for number in range(mebibytes * 1024)]
    state = settled_bytes()
    pickle.dumps(messages)
    return Peak(state - empty, peak_bytes() - state)
