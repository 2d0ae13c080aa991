"""Over random agents, crashes and clock jumps: ledgers balance, timers fire once, answers count once."""

import asyncio
from collections import defaultdict

from clock_program import PROGRAMS, limits_of, nodes, tokens_of
from crash_trial import DyingStorage
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernelckpt import CheckpointHook, MemoryStorage, Scheduler, load, verify
from kernelckpt.errors import FencedError, NotFoundError
from kernelckpt.testing import ManualClock

RUN = "run"
ROUNDS = 400
"""So often time is moved on at most; a task that has not ended by then waits for a timer that never fires."""

MOVES = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from([0, 1, 5, 61])),
    st.tuples(st.just("jump"), st.integers(-90_000, 90_000)),
    st.tuples(st.sampled_from(["approve", "deny", "forget", "die"]), st.just(0)),
)


class Outside:
    """The clock, the storage and the human of a run through all its lives."""

    def __init__(self, roots, lives):
        self.roots = {f"root-{number}": [True, root[1]] for number, root in enumerate(roots)}
        self._lives = list(lives)
        self.clock = ManualClock()
        self._begin_ms = 0
        self.storage = MemoryStorage()
        self.tried = defaultdict(set)
        self.answered = {}

    async def run(self):
        """Live until nothing is left to do; the state at the end."""
        while True:
            nth, written, down_ms, moves = self._lives.pop(0) if self._lives else (10**9, False, 0, [])
            self.clock.jump(down_ms)
            if await self._check() is None:
                self._begin_ms = self.clock.wall_ms()
            try:
                await self._live(DyingStorage(self.storage, nth, written=written), list(moves))
            except FencedError:
                continue
            return await self._check()

    async def _live(self, storage, moves):
        hook = CheckpointHook(storage, takeover=True, signals=(), stop_signals=())
        kernel = Scheduler(PROGRAMS, run_id=RUN, hooks=[hook], deps=self.clock, clock=self.clock)
        async with kernel:
            for task_id, root in self.roots.items():
                await kernel.submit("play", task_id=task_id, input=root, budget=limits_of(root))
            for _ in range(ROUNDS):
                if not kernel.tasks.live():
                    return
                move, amount = moves.pop(0) if moves else ("go on", 7)
                if move == "die" and kernel.approvals() and self._lives:
                    storage._left = 1  # the answer is the last that is written, or is not
                await self._move(kernel, move, amount)
            waiting = kernel.tasks.live()
            await kernel.stop(0)
            raise AssertionError(f"these wait for ever: {waiting}")

    async def _move(self, kernel, move, amount):
        if move == "jump":
            self.clock.jump(amount)
        elif move == "forget":
            await self._forget(kernel)
        elif move != "advance":
            await self._answer(kernel, deny=move == "deny")
        await self.clock.advance(amount if move in {"advance", "go on"} else 0)

    async def _answer(self, kernel, *, deny):
        for item in kernel.approvals():
            asked = (item.task_id, item.key)
            assert asked not in self.answered, f"{asked} was answered, and is asked again"
            answer = "denied" if deny else "approved"
            self.tried[asked].add(answer)
            await (kernel.deny if deny else kernel.approve)(*asked)
            self.answered[asked] = answer

    async def _forget(self, kernel):
        """Forget one task that has ended and whose parent has not, with all below it."""
        for row in kernel.tasks:
            below = [child for child in kernel.tasks if child.id.startswith(f"{row.id}/")]
            ended = all(child.state.is_terminal() for child in (row, *below))
            parent = kernel.tasks.get(row.parent or "")
            if ended and parent is not None and parent.wait is None and not parent.joined:
                await kernel.forget(row.id)
                return

    async def _check(self):
        """What holds of a state whenever the process dies; the state, or None before there is one."""
        storage = MemoryStorage(self.storage._state)
        try:
            snapshot = await load(storage, RUN)
        except NotFoundError:
            return None
        report = await verify(storage, RUN)
        assert report.ok, report.findings
        roots = [row for row in snapshot.tasks if row.parent is None]
        if roots:
            totals = snapshot.totals
            assert sum(row.total_tokens + row.children_tokens for row in roots) == totals.total_tokens
            assert sum(row.cost_micros + row.children_cost_micros for row in roots) == totals.cost_micros
            worked = totals.clock_ms - self._begin_ms
            assert 0 <= worked <= self.clock.monotonic() * 1000
        return snapshot


def lines_of(node, snapshot, outside, task_id):
    """Compare what an agent has seen with its steps: a line for each, in order."""
    steps, seen = node[1], [message.text for message in snapshot.contexts[task_id].history_messages]
    wanted = []
    for number, (kind, *_) in enumerate(steps, 1):
        if kind in {"charge", "spend", "raise"}:
            wanted.append("on")
        if kind == "ask":
            answer = outside.answered.get((task_id, str(number)))
            (status,) = {answer} if answer else outside.tried[task_id, str(number)]
            wanted.append(f"answered {status}")
        else:
            wanted.append({"sleep": "slept True", "late": "late timeout"}.get(kind, kind))
    assert seen == wanted, task_id


def check_node(node, snapshot, outside, task_id):
    rows = {row.id: row for row in snapshot.tasks}
    row = rows.get(task_id)
    if row is None:
        return  # forgotten
    assert (row.state.reason.value, row.turns, row.failed) == ("completed", len(node[1]) + 1, 0)
    own, below = tokens_of(node)
    assert (row.total_tokens, row.children_tokens) == (own, below if node[0] else 0)
    lines_of(node, snapshot, outside, task_id)
    for number, (kind, *arguments) in enumerate(node[1], 1):
        late = rows.get(f"{task_id}/{number}") if kind == "late" else None
        assert late is None or (late.state.reason.value, late.turns) == ("timeout", 1)
        for index, child in enumerate(arguments[0] if kind == "spawn" else ()):
            check_node(child, snapshot, outside, f"{task_id}/{number}.{index}")


LIVES = st.tuples(
    st.integers(1, 40), st.booleans(), st.integers(-90_000, 90_000), st.lists(MOVES, max_size=12)
)


@given(roots=st.lists(nodes(), min_size=1, max_size=2), lives=st.lists(LIVES, max_size=5))
@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a task that waits for ever is slow to shrink
    suppress_health_check=list(HealthCheck),
)
def test_ledgers_balance_timers_fire_once_and_no_answer_is_lost_or_taken_twice(roots, lives):
    outside = Outside(roots, lives)
    snapshot = asyncio.run(outside.run())
    for task_id, root in outside.roots.items():
        check_node(root, snapshot, outside, task_id)
