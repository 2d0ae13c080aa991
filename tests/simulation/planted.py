"""Faults to be planted into the package, of which the simulation must find each: name -> context manager."""

from unittest import mock

import msgspec

from kernelckpt.abc import EntryInfo
from kernelckpt.kernel.calls.performer import Performer
from kernelckpt.kernel.host import Host
from kernelckpt.kernel.joining import Joining
from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.table import TaskTable, _timer_of
from kernelckpt.log.batch import Batch
from kernelckpt.log.progress import Progress
from kernelckpt.model.effect import EffectStatus
from kernelckpt.storage import memory
from kernelckpt.storage.file import claim as file_claim
from kernelckpt.storage.file.epoch import begin_epoch


def _nothing(*_, **__):
    """Do nothing."""


def acknowledge_before_durable():
    async def wait(self, commit):
        self.check()

    return mock.patch.object(Progress, "wait", wait)


def answer_without_asking_hooks():
    async def durable(self, commit):
        self._confirmed = max(self._confirmed, commit)

    return mock.patch.object(Host, "_durable", durable)


def drop_a_batch_after_a_failure():
    def absorb(self, newer):
        self.records, self.items = newer.records, newer.items
        self.commit, self.turn = newer.commit, newer.turn

    return mock.patch.object(Batch, "absorb", absorb)


def no_fence_in_files():
    return mock.patch.object(file_claim.RunClaim, "check", _nothing)


def no_seal():
    def begin(ops, fd, start, never, newest_segment):
        begin_epoch(ops, fd, start, never, (1 << 40, 0))

    return mock.patch.object(file_claim, "begin_epoch", begin)


def no_fence_on_the_server():
    """The last one to write an entry wins."""

    async def append(self, run_id, epoch, sequence, entry, meta):  # noqa: PLR0917
        run, body = self._state.runs[run_id], b"".join(entry)
        run.entries[sequence] = (EntryInfo(epoch, sequence, len(body), meta), body)
        run.head = max(run.head, sequence)

    return mock.patch.object(memory.MemoryStorage, "append", append)


def no_sync():
    return mock.patch.object(file_claim, "sync_data", _nothing)


def failed_entry_taken_for_durable():
    """What could not be synced is read back, and believed."""
    return mock.patch.object(file_claim.RunClaim, "without_failed", lambda self, found: found)


def no_sync_of_what_was_found():
    return mock.patch.object(file_claim, "sync_found", _nothing)


def outcome_not_recorded():
    real = Performer.write

    async def write(self, task_id, number, effect):
        if not effect.decided:
            await real(self, task_id, number, effect)

    return mock.patch.object(Performer, "write", write)


def intent_not_durable():
    real = Performer.write

    async def write(self, task_id, number, effect):
        if effect.status is EffectStatus.STARTED:
            self._core.state.put(("effect", task_id, number), effect)
            self._core.state.commit()
        else:
            await real(self, task_id, number, effect)

    return mock.patch.object(Performer, "write", write)


def timer_lost_on_restore():
    real = KernelState.load

    def load(self, state):
        real(self, state)
        self.table._timers.__init__(_timer_of)

    return mock.patch.object(KernelState, "load", load)


def message_taken_twice():
    from kernelckpt.kernel.turn import commit

    def drop(core, task_id, staged):
        for number in list(core.cell(task_id).effects):
            core.state.remove(("effect", task_id, number))

    return mock.patch.object(commit, "_drop_consumed", drop)


def keys_forgotten():
    real = KernelState.load

    def load(self, state):
        real(self, state)
        for cell in self._cells.values():
            cell.sent_keys.clear()

    return mock.patch.object(KernelState, "load", load)


def children_not_waited_for_after_restore():
    real = Joining.begin

    def begin(self, row, children):
        known = row.wait is not None and row.wait.children
        return True if known else real(self, row, children)

    return mock.patch.object(Joining, "begin", begin)


def state_shared_with_the_row_before():
    """A change that no commit tells of."""
    real = TaskTable.insert

    def insert(self, row):
        if row.budget.turns == 3:
            row = msgspec.structs.replace(row, goal="changed in passing")
        return real(self, row)

    return mock.patch.object(TaskTable, "insert", insert)


PLANTED = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
}

RARE = {"failed_entry_taken_for_durable", "no_seal", "no_sync_of_what_was_found"}
"""Those that take hundreds of histories: `python tests/simulation/simulate.py --plant ... --runs 2000`."""
