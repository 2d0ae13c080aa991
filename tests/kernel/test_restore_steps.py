"""Restoring in steps: between any two of them others run, and what they see is a committed state."""

from types import SimpleNamespace

import pytest
from kernel_kit import Recorder, kernel_of

from kernelckpt.codec.record import encode_record
from kernelckpt.errors import RestoreError
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb

ROWS = 500


class Patient(Recorder):
    """Restores a step at a time and looks at the kernel after each."""

    def __init__(self, saved):
        super().__init__(saved)
        self.steps = 0
        self.seen = []

    async def on_start(self, kernel):
        rehearsed = self._through(kernel.rehearsing(self._saved), kernel)
        assert (len(kernel.tasks), self.commits) == (0, []), "a rehearsal changes nothing"
        self._through(kernel.restoring(rehearsed, downtime_ms=None, notes=()), kernel)

    def _through(self, steps, kernel):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            self.steps += 1
            self._compare(kernel)

    def _compare(self, kernel):
        """What is seen between two steps is what was saved, with the commits made so far."""
        if len(kernel.tasks):
            now = {("task", row.id, 0): encode_record(row) for row in kernel.tasks}
            saved = self.saved().records
            self.seen.append(now == {key: data for key, data in saved.items() if key[0] == "task"})


async def rest(turn):
    return turn.wait_external("the test")


def saved_of(state, program="rest"):
    rows = [Tcb(f"t{number}", program=program, state=state) for number in range(ROWS)]
    records = {("task", row.id, 0): encode_record(row) for row in rows}
    return SimpleNamespace(records={**records, ("kernel", "", 0): encode_record(KernelTotals())}, streams={})


async def test_a_restore_takes_a_step_for_each_row_that_is_looked_at():
    hook = Patient(saved_of(TaskState.READY))
    async with kernel_of({"rest": rest}, hooks=[hook]):
        assert hook.steps > 3 * ROWS


async def test_what_is_mended_is_committed_piece_by_piece():
    hook = Patient(saved_of(TaskState.RUNNING))
    async with kernel_of({"rest": rest}, hooks=[hook]) as kernel:
        assert len(kernel.restored.interrupted) == ROWS
        assert len(hook.commits) > 3
        assert max(len(commit.changes) for commit in hook.commits) < ROWS / 2
        assert len(hook.seen) > ROWS
        assert all(hook.seen)
        await kernel.idle()


async def test_who_looks_on_from_before_the_start_sees_the_restored_rows():
    kernel = kernel_of({"rest": rest}, hooks=[Patient(saved_of(TaskState.READY))])
    tasks = kernel.tasks
    assert tasks.runnable() == []
    async with kernel:
        assert len(tasks) == ROWS
        assert len(tasks.runnable()) + len(tasks.live()) >= ROWS
        await kernel.idle()
        assert tasks.runnable() == []


async def test_a_state_that_cannot_be_gone_on_from_is_refused_before_anything_is_changed():
    hook = Patient(saved_of(TaskState.READY, program="gone"))
    kernel = kernel_of({"rest": rest}, hooks=[hook])
    with pytest.raises(RestoreError, match="'gone'"):
        async with kernel:
            pytest.fail("started")
    assert (len(kernel.tasks), hook.commits, kernel.restored) == (0, [], None)
