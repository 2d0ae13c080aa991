"""Kills a process at every point around its effects, and agents at random ones, and looks at the other side.

What is done there is counted by a third process. Calls that were not declared idempotent must be done once
at most, and exactly once where the probe or the human knows; every outcome that was recorded is used again,
every call in doubt is reported.

python tests/faults/kill_effects.py --effects 1000 --agents 50 --kills 50
"""

import argparse
import asyncio
import gc
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from unittest import mock

import msgspec
from counting_server import ask, start
from effect_agents import DEATH, POLICIES, RUN_ID, SHAPES, live
from kill_points import at_once

from kernelckpt import load, open_storage
from kernelckpt.errors import NotFoundError
from kernelckpt.kernel.calls.performer import Performer
from kernelckpt.model.effect import EffectPolicy
from kernelckpt.storage.file import storage as file_storage

FIRST_LABEL = "before started"
"""The first point of a life that has to do with a call."""


CALLS = {"alone": 1, "nested": 2, "concurrent": 3, "requested": 2}
"""How many calls a turn makes."""

FEWEST_POINTS = 40
"""No victim dies before it has had a chance to do anything."""


class KillError(Exception):
    """Something was done twice, or lost, or not reported."""


class Side:
    """The process that counts, for as long as a trial goes on."""

    def __init__(self, folder):
        self.path = f"{folder}/counter"
        self._pid = start(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def counts(self):
        """How often each call was done, and under how many keys."""
        return ask(self.path, "all")


def fork_victim(folder, agents, last):
    """Let a process live until it dies at a point."""
    pid = os.fork()
    if not pid:
        try:
            asyncio.run(live(folder, agents, last))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def recorded(folder):
    """What the ledger holds: names of calls with an outcome, and what a restore has to report."""
    async with open_storage(f"file:{folder}/state") as storage:
        try:
            snapshot = await load(storage, RUN_ID)
        except NotFoundError:
            return set(), Counter()
    done, in_doubt = set(), Counter()
    for task_id, effects in snapshot.effects.items():
        for effect in effects.values():
            if effect.status.value == "returned":
                value = msgspec.msgpack.decode(effect.outcome)
                texts = [value] if isinstance(value, str) else value
                done.update(text.removesuffix(" done") for text in texts)
            in_doubt[f"{task_id}: {effect.name}"] += effect.in_doubt
    return done, +in_doubt


def judge(agents, counts, keys, said, results):
    """Raise `KillError` unless the other side and the agents agree on what was done, and how often."""
    for task_id, text in results.items():
        if text != "done":
            raise KillError(f"{task_id} ended with {text!r}")
    for task_id, (policy, shape, turns) in agents.items():
        if policy != "fail" and len(said[task_id]) != turns * CALLS[shape]:
            raise KillError(f"{task_id} has lost calls: it said {said[task_id]}")
        for text in said[task_id]:
            name, _, what = text.partition(" ")
            count = counts.get(name, 0)
            if what == "done" and count < 1:
                raise KillError(f"{name} ({policy}) is said to be done, and was not: lost")
            if what != "done" and (what, policy) != ("in doubt", "fail"):
                raise KillError(f"{name} ({policy}) is said to be {what}")
            if count > 1 and policy != "idempotent":
                raise KillError(f"{name} ({policy}) was done {count} times")
            if policy == "idempotent" and keys[name] != 1:
                raise KillError(f"{name} was done under {keys[name]} keys")
        if shape != "nested" and len(said[task_id]) != len(set(said[task_id])):
            raise KillError(f"{task_id} said something twice: {said[task_id]}")


def finish(folder, side, agents):
    """Let the run come to its end in peace, and look at what was done."""
    done_before, in_doubt = asyncio.run(recorded(folder))
    counts_before, _ = side.counts()
    _, reported, said, results = asyncio.run(live(folder, agents))
    if Counter(reported) != in_doubt:
        raise KillError(f"in doubt: {dict(in_doubt)}, reported: {reported}")
    counts, keys = side.counts()
    judge(agents, counts, keys, said, results)
    for name in done_before:
        if counts.get(name) != counts_before.get(name):
            raise KillError(f"{name} was done again, though its outcome was recorded")
    return len(done_before), sum(in_doubt.values()), counts


def at_every_point(policy, shape, *, stride=1):
    """Kill an agent at each point of its calls; how many deaths, calls found done, and calls in doubt."""
    agents = {"a": (policy, shape, 2)}
    with tempfile.TemporaryDirectory() as folder, Side(folder):
        labels, *_ = asyncio.run(live(folder, agents))
    first = labels.index(FIRST_LABEL) + 1
    totals, seen = Counter(), Counter()
    for last in range(first, len(labels) + 1, stride):
        with tempfile.TemporaryDirectory() as folder, Side(folder) as side:
            where = f"{policy}, {shape}: killed at point {last}, {labels[last - 1]}"
            try:
                code = fork_victim(folder, agents, last)
                if code != DEATH:
                    raise KillError(f"the victim ended with {code}")
                found, in_doubt, _ = finish(folder, side, agents)
            except Exception as error:
                raise KillError(f"{where}: {type(error).__name__}: {error}") from error
        totals.update(deaths=1, recorded=found, doubt=in_doubt)
        seen[labels[last - 1]] += 1
    return totals, seen


def courses(effects, agents):
    """What so many agents do, so that they make at least so many calls."""
    each, found = -(-effects // agents), {}
    for number in range(agents):
        shape = SHAPES[number % len(SHAPES)]
        turns = -(-each // CALLS[shape])
        found[f"a{number}"] = (POLICIES[number // len(SHAPES) % len(POLICIES)], shape, turns)
    return found


def at_random(effects, agents, kills, seed):
    """Kill a kernel of many agents at random points, again and again, until all are done."""
    choice, todo = random.Random(seed), courses(effects, agents)
    deaths = in_doubt = 0
    with tempfile.TemporaryDirectory() as folder, Side(folder) as side:
        while deaths < kills:
            code = fork_victim(folder, todo, choice.randint(FEWEST_POINTS, 14 * effects // kills))
            if code != DEATH:
                raise KillError(f"after {deaths} kills a victim ended with {code}")
            deaths += 1
            in_doubt += sum(asyncio.run(recorded(folder))[1].values())
        counts = finish(folder, side, todo)[2]
    again = sum(count - 1 for count in counts.values())
    return deaths, in_doubt, sum(turns * CALLS[shape] for _, shape, turns in todo.values()), again


async def do_not_wait(self, task_id, number, effect, write=Performer.write):
    """A planted bug: a call is begun before its intent is durable."""
    if effect.decided:
        await write(self, task_id, number, effect)
    else:
        self._core.state.put(("effect", task_id, number), effect)
        self._core.state.commit()


def repeat(effect, tool):
    """A planted bug: what is in doubt is done again."""
    return EffectPolicy.IDEMPOTENT


PLANTED = {
    "none": {},
    "intent-later": {"kernelckpt.kernel.calls.performer.Performer.write": do_not_wait},
    "repeated": {"kernelckpt.kernel.calls.doubt.policy_of": repeat},
}


def main():
    """Kill as often as was asked for; fails at the first kill after which something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--effects", type=int, default=1000)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1, help="kill at every so many of the points")
    parser.add_argument("--planted", choices=PLANTED, default="none", help="a bug that must be found")
    given = parser.parse_args()
    gc.freeze()  # a forked victim need not look at what was there before
    began = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(file_storage, "wrap", at_once))
        for name, function in PLANTED[given.planted].items():
            stack.enter_context(mock.patch(name, function))
        for policy in POLICIES:
            for shape in SHAPES:
                totals, seen = at_every_point(policy, shape, stride=given.stride)
                print(
                    f"{policy}, {shape}: {totals['deaths']} killed at {len(seen)} kinds of points, "
                    f"{totals['recorded']} outcomes found, {totals['doubt']} calls in doubt",
                    flush=True,
                )
        deaths, in_doubt, done, again = at_random(given.effects, given.agents, given.kills, given.seed)
    print(
        f"random: {done} effects, {given.agents} agents, {deaths} kills, {in_doubt} times in doubt, "
        f"{again} idempotent ones done again; 0 others done twice, 0 lost "
        f"({time.perf_counter() - began:.0f} s)",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
