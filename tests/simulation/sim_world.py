"""What outlives every crash: the world that agents act upon, what was answered, and what follows from it."""

import asyncio
from collections import Counter, deque
from hashlib import sha256

from sim_script import calls_of, plan_of

from kernelckpt.codec.record import decode_record
from kernelckpt.testing import SimProcess


class BrokenError(AssertionError):
    """Something happened that must not."""


class World:
    """The outside of one simulated run.

    Attributes:
        loop: the simulated loop.
        chance: where everything random comes from.
        roots: the script and the limit of turns of each root.
        calls: how often each call was made, by its key.
        owners: every process that tried to own the run, in order of their starts.
        submitted, cancelled: tasks, as far as it was acknowledged.
        sent: acknowledged keys of messages, with their task.
        answered: acknowledged answers to questions, by task and key.
        results: what was said of tasks that have ended.
        broken, broken_at: the first thing that went wrong, and in which step of the loop.
        counts: how much of each kind happened.
        tail: the newest lines of the trace.
    """

    def __init__(self, loop, roots, *, verbose=False):
        self.loop = loop
        self.chance = loop.chance
        self.roots = roots
        self.calls = Counter()
        self.owners = []
        self.submitted, self.cancelled, self.sent = set(), set(), set()
        self.answered, self.results = {}, {}
        self.cancel_tried = set()
        self.broken, self.broken_at = None, 0
        self.counts = Counter()
        self.tail = deque(maxlen=40)
        self._outcomes = {}
        self._verbose = verbose
        self._sha = sha256()

    # the trace

    def note(self, *facts):
        """Add a line to the trace; the dead have no say."""
        if SimProcess.is_dead():
            return
        line = f"{self.loop.time():.6f} {self.loop.steps} " + " ".join(map(str, facts))
        self.counts[facts[0]] += 1
        self.tail.append(line)
        self._sha.update(line.encode() + b"\n")
        if self._verbose:
            print(line)

    def note_bytes(self, data):
        """Let bytes count for the digest."""
        self._sha.update(data)

    @property
    def digest(self):
        return self._sha.hexdigest()

    def fail(self, text):
        """Note that something is wrong; the loop's next round ends the simulation."""
        if self.broken is None and not SimProcess.is_dead():
            self.note("broken", text)
            self.broken, self.broken_at = text, self.loop.steps

    def check(self, holds, text):
        if not holds:
            self.fail(text)

    # what agents do

    async def act(self, key):
        """A call with consequences; some fail, each time in the same way."""
        self.calls[key] += 1
        count = self.calls[key]
        self.note("act", key, count)
        if count > 1 and self._policy_of(key) == "ask":
            self.fail(f"call {key}, which must not be repeated, was made {count} times")
        await asyncio.sleep(self.chance.choice([0, 0.0005, 0.01, 0.5]))
        if hash_of(key) % 11 == 0:
            raise RuntimeError(f"{key} never works")
        return f"{key}#{count}"

    def _policy_of(self, key):
        task_id, turn, index = key.split("/")
        return calls_of(plan_of(self.roots, task_id)[0][int(turn) - 1])[int(index)]

    def saw_outcome(self, key, outcome):
        """A program was told what came of a call; whoever runs that turn again is told the same."""
        self.note("outcome", key, outcome)
        before = self._outcomes.setdefault(key, outcome)
        self.check(before == outcome, f"call {key} gave {before}, then {outcome}")

    # what the outside was told

    def saw_result(self, task_id, result):
        """Somebody outside was told how a task ended."""
        found = told(result)
        self.note("result", task_id, *found)
        before = self.results.setdefault(task_id, found)
        self.check(before == found, f"task {task_id} ended as {before}, then as {found}")

    def answers_yes(self, task_id, key):
        """What the outside says to a question: always the same."""
        return hash_of(f"{task_id} {key}") % 3 != 0

    def is_safe_to_repeat(self, key):
        """Whether a call in doubt was not made, and never will be by anybody who is still about."""
        return self.calls[key] == 0

    def others_are_over(self, owner):
        return all(other.is_over for other in self.owners if other is not owner)

    # what follows

    def loaded(self, owner):
        """An owner has read the run: exactly a state that was, and nothing acknowledged is missing."""
        self.note("loaded", owner.name, owner.epoch, f"{owner.model.digest:032x}")
        if any(other.epoch > owner.epoch for other in self.owners):
            owner.superseded = 0  # it was replaced while it read: it must never acknowledge anything
            return
        self.check_facts(owner.model)
        before = [other for other in self.owners if 0 < other.epoch < owner.epoch]
        if not before:
            self.check(not owner.model.records, "there is a state before anything was written")
            return
        last = max(before, key=lambda other: other.epoch)
        same = [number for number, digest in enumerate(last.digests) if digest == owner.model.digest]
        self.check(same, f"{owner.name} restored a state in which {last.name} never was")
        last.superseded = max(same, default=0)
        self.check(
            last.superseded >= last.acknowledged,
            f"{owner.name} restored commit {last.superseded} of {last.name}, "
            f"which had acknowledged {last.acknowledged}",
        )

    def acknowledged(self, owner, commit):
        """Something was told outside that rests on this commit of an owner."""
        owner.acknowledged = max(owner.acknowledged, commit)
        if owner.superseded is not None and commit > owner.superseded:
            self.fail(f"{owner.name} acknowledged commit {commit}, but was replaced at {owner.superseded}")

    def check_facts(self, model):
        """Whatever was answered is in a state."""
        rows = {key[1]: decode_record(key, data) for key, data in model.records.items() if key[0] == "task"}
        for task_id in self.submitted - rows.keys():
            self.fail(f"task {task_id} was submitted and is gone")
        for task_id in self.cancelled:
            row = rows.get(task_id)
            self.check(row and row.state.is_terminal(), f"task {task_id} was cancelled and is not")
        for task_id, found in self.results.items():
            result = rows[task_id].result if task_id in rows else None
            self.check(result and told(result) == found, f"task {task_id} had ended as {found}, now {result}")
        self._check_records(model)

    def _check_records(self, model):
        keys, answers = set(), {}
        for key, data in model.records.items():
            if key[0] == "sent":
                keys.add((key[1], decode_record(key, data).key))
            elif key[0] == "approval":
                item = decode_record(key, data)
                answers[key[1], item.key] = item.status.value
        self.check(self.sent <= keys, f"messages were sent and are gone: {self.sent - keys}")
        for key, status in self.answered.items():
            found = answers.get(key, status)  # a task may have ended since
            self.check(found == status, f"question {key} was {status}, now {found}")


def told(result):
    """Of a result, what must never change."""
    return (result.termination.value, result.text, result.error, result.turns_used)


def hash_of(text):
    """A number that is the same in every process."""
    return int.from_bytes(sha256(text.encode()).digest()[:4], "big")
