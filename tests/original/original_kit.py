"""What the restated tests of the original share: rows, programs, kernels over a storage, copies of it."""

from collections.abc import Sequence
from copy import deepcopy

from kernelckpt import (
    BudgetLedger,
    CheckpointHook,
    MemoryStorage,
    RuntimeSignal,
    Scheduler,
    SchedulerBudget,
    SignalSource,
    SignalType,
    SystemClock,
    TaskState,
    Tcb,
    TerminationReason,
    Urgency,
)
from kernelckpt.abc import Change, Key, Put
from kernelckpt.codec.record import encode_record
from kernelckpt.log import RunLog
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.storage import MemoryState

RUN = "run"
TOTALS: Key = ("kernel", "", 0)
DONE = TaskState.done(TerminationReason.COMPLETED)


def row(name, state=TaskState.READY, *, turns=0, tokens=0, started=None, wait=None, deferred=None, **limits):
    """A root row."""
    ledger = BudgetLedger(SchedulerBudget(**limits), turns, tokens, started)
    return Tcb(name, state=state, budget=ledger, wait=wait, deferred_until=deferred)


def signal_of(summary="", urgency=Urgency.NORMAL, *, key=None, at=0, **fields):
    """A signal from outside."""
    return RuntimeSignal(
        SignalSource.CUSTOM, SignalType.EVENT, urgency, summary, dedupe_key=key, timestamp_ms=at, **fields
    )


def kernel_of(storage, programs, *, hook=None, **settings):
    """A scheduler that keeps its run in a storage, turn by turn, and goes on with what is there."""
    hook = hook or CheckpointHook(storage, every=None, owner_wait=0)
    return Scheduler(programs, run_id=RUN, hooks=[hook], **settings)


class Memory:
    """A storage in memory of which a copy can be taken at any instant, as a crash would leave it."""

    def __init__(self, state=None):
        self.state = state or MemoryState()
        self.storage = MemoryStorage(self.state)

    def crashed(self):
        """A copy of what is durable now; its owner is dead."""
        state = deepcopy(self.state)
        for run in state.runs.values():
            run.owner = None
        return Memory(state)

    @property
    def entries(self):
        """The run's entries by number, to be spoilt."""
        return self.state.runs[RUN].entries

    def flip(self, sequence, place):
        """Flip one bit of an entry's body."""
        info, body = self.entries[sequence]
        place %= len(body)
        self.entries[sequence] = (info, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])


class Recording(MemoryStorage):
    """A storage that takes a copy of itself after every append: all that any crash could leave."""

    def __init__(self):
        self._memory = Memory()
        super().__init__(self._memory.state)
        self.copies = []

    async def append(self, *arguments):
        await super().append(*arguments)
        self.copies.append(self._memory.crashed())


async def written(*records: tuple[Key, object]) -> Memory:
    """A run of one checkpoint that holds these records, sound or not; with totals unless they are given."""
    memory = Memory()
    changes: Sequence[Change] = [Put(key, record) for key, record in records]
    if all(key != TOTALS for key, _ in records):
        changes = [Put(TOTALS, KernelTotals()), *changes]
    log = await RunLog.open(
        memory.storage, RUN, holder="a test", clock=SystemClock(), encode=encode_record, owner_wait=0.0
    )
    log.stage(changes, 1, 0)
    await log.flush("test")
    await log.aclose()
    return memory


def row_record(tcb: Tcb) -> tuple[Key, Tcb]:
    """A row under its key."""
    return ("task", tcb.id, 0), tcb


async def listen(turn):
    """Say what is sent, until told to stop."""
    for message in turn.inbox:
        turn.say(message.text)
        if message.text == "stop":
            return turn.complete("stopped")
    return turn.wait_for_message()


async def wait(turn):
    """Wait to be resumed, then complete."""
    return turn.wait_external("door") if turn.number == 1 else turn.complete(turn.task.id)


async def once(turn):
    """Complete at once."""
    return turn.complete("done")


async def lead(turn):
    """Spawn two children that wait, join both, and give what they said."""
    if turn.number == 1:
        return turn.join(*[turn.spawn("wait", task_id=name, role="implement") for name in ("a", "b")])
    return turn.complete(output={name: result.text for name, result in turn.results.items()})


async def ask(turn):
    """Ask a human, then do what needs the answer."""
    if not turn.approvals:
        return turn.ask_approval("sure", "Shall it be deleted?", {"tool": "delete"})
    if not turn.approvals["sure"].approved:
        return turn.fail("was told not to")
    return turn.complete(await turn.effect(turn.deps.append, "deleted") or "deleted")
