"""The agents under a checkpointed kernel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b

from typing_extensions import override

from kernelckpt import Approval, CheckpointHook, FileStorage, LogOptions, Scheduler, SchedulerBudget, WaitKind
from kernelckpt.abc import Claim
from kernelckpt.codec.record import encode_record
from kernelckpt.demo.agents import PROGRAMS, ROOT
from kernelckpt.demo.message import Config, Finished, Moment, Restored, Usage
from kernelckpt.demo.pipe import Lines
from kernelckpt.demo.side import PLACES, Question, hear, watch
from kernelckpt.demo.site import Site
from kernelckpt.kernel.core import result_of
from kernelckpt.kernel.question import EFFECT_KEY

RUN_ID = "demo"
"""The run's name."""

_OPTIONS = LogOptions(base_min_bytes=32 * 1024, base_factor=0.5)
"""Bases far more often than they pay, so that kills find one being written."""

_EVERY = 0.25
_MANY = 1_000_000_000


async def run_kernel(config: Config, lines: Lines) -> Finished:
    """Begin the survey, or go on with it, and see it to its end.

    Args:
        config: what the process was started with.
        lines: the answers of the parent.
    """
    site = Site(config, lambda: kernel.turn)
    storage = AimedStorage(os.path.join(config.folder, "state"), site)  # noqa: PTH118
    hook = CheckpointHook(storage, every=_EVERY, owner_wait=10.0, log=_OPTIONS)
    kernel = Scheduler(
        PROGRAMS,
        run_id=RUN_ID,
        hooks=[hook],
        tools=site.tools().values(),
        deps=site,
        budget=SchedulerBudget(max_turns=_MANY, max_total_tokens=_MANY),
        max_concurrency=PLACES,
    )
    async with storage, kernel:
        side = KernelSide(kernel, hook)
        _tell_restored(kernel, hook, site)
        kernel.start_soon(watch, side, site)
        kernel.start_soon(hear, side, lines)
        if ROOT not in kernel.tasks:
            await kernel.submit("tree", task_id=ROOT, goal=f"survey {config.tree.root}", input=config.tree)
        result = await kernel.join(ROOT)
        rows = kernel.tasks.all()
        checkpoint = await hook.checkpoint()
        return Finished(
            turn=kernel.turn,
            tokens=sum(row.budget.total_tokens for row in rows),
            digest=_digest(kernel),
            checkpoints=checkpoint.sequence,
            usage=side.usage,
            problem=result.error,
        )


def _tell_restored(kernel: Scheduler, hook: CheckpointHook, site: Site) -> None:
    report = kernel.restored
    if report is not None:
        seconds = hook.stats.restore_seconds
        counts = len(report.interrupted), len(report.in_doubt)
        site.tell(Restored(report.turn, report.live, *counts, seconds))


def _digest(kernel: Scheduler) -> str:
    """Of every agent's row, history and result: what must not depend on kills."""
    digest = blake2b(digest_size=16)
    for row in sorted(kernel.tasks.all(), key=lambda row: row.id):
        facts = (row.id, row.program, row.state.label(), row.budget.turns, row.budget.total_tokens)
        digest.update(repr(facts).encode())
        for message in kernel.context(row.id).history:
            digest.update(encode_record(message))
        result = result_of(row)
        digest.update(encode_record(result) if result is not None else b"")
    return digest.hexdigest()


class AimedStorage(FileStorage):
    """Local files where a kill may be aimed at the writing of a base and at the coming back."""

    def __init__(self, path: str, site: Site) -> None:
        """Touch nothing yet."""
        super().__init__(path)
        self._site = site

    @override
    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        claim = await super().acquire(run_id, holder, takeover=takeover)
        if claim.head:
            await self._site.reach(Moment.RESTORE)
        return claim

    @override
    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        await super().write_part(run_id, epoch, name, index, data)
        await self._site.reach(Moment.BASE)


class KernelSide:
    """The run as it is watched."""

    def __init__(self, kernel: Scheduler, hook: CheckpointHook) -> None:
        """Watch a kernel and its hook."""
        self._kernel = kernel
        self._hook = hook

    @property
    def turn(self) -> int:
        """Turns committed over the life of the run."""
        return self._kernel.turn

    @property
    def ended(self) -> int:
        """Agents that have ended."""
        return len(self._kernel.tasks.all()) - self._kernel.tasks.live_count

    @property
    def joining(self) -> bool:
        """Whether the root is in its join."""
        root = self._kernel.tasks.get(ROOT)
        return root is not None and root.wait is not None and root.wait.kind is WaitKind.SUB_AGENT_JOIN

    @property
    def usage(self) -> Usage:
        """What the hook has done in this life."""
        stats = self._hook.stats
        return Usage(
            stats.checkpoints,
            stats.bytes_written,
            stats.bases,
            stats.base_bytes,
            stats.longest_hold_seconds,
        )

    def questions(self) -> list[Question]:
        """What a human has to decide."""
        return [
            Question(item.task_id, item.key, item.prompt, _finding_of(item))
            for item in self._kernel.approvals()
        ]

    async def answer(self, task: str, key: str, *, approve: bool) -> None:
        """Decide."""
        if approve:
            await self._kernel.approve(task, key, by="the parent process")
        else:
            await self._kernel.deny(task, key, reason="it had arrived")


def _finding_of(item: Approval) -> str:
    return str(item.payload["arguments"]["finding"]) if item.key.startswith(EFFECT_KEY) else ""
