"""The process that `kill_effects.py` kills: agents with calls that another process counts."""

import asyncio
import signal

import anyio
from counting_server import ask
from killing_ops import KillingFileOps

from kernelckpt import CheckpointHook, FileStorage, Hook, Message, NotDone, Role, Scheduler, ToolCall, tool
from kernelckpt.errors import EffectDenied

RUN_ID = "effects"
SHAPES = ("alone", "nested", "concurrent", "requested")
POLICIES = ("idempotent", "ask", "probe", "fail")


class Points(KillingFileOps):
    """Numbers every moment at which the process may die: each call that changes a file, and those named."""

    def reach(self, label):
        self.calls.append(label)
        if self.point == self._last:
            self._die(label, [])


class Before(Hook):
    """Numbers what is committed, before the saver is told of it."""

    def __init__(self, points):
        self._points = points

    def on_commit(self, kernel, commit):
        for change in commit.changes:
            if change.key[0] == "effect" and hasattr(change, "record"):
                self._points.reach(f"before {change.record.status.value}")
        if commit.ended_turn:
            self._points.reach("before the commit")


class After(Hook):
    """Numbers what is durable, once the saver has said so."""

    def __init__(self, points):
        self._points = points

    async def kept(self, commit):
        self._points.reach("kept")

    async def durable(self, commit):
        self._points.reach("durable")


class Side:
    """How agents call the other side."""

    def __init__(self, path, points):
        self._path = path
        self._points = points

    async def do(self, name, idempotency_key=""):
        self._points.reach("in the call, before it is done")
        ask(self._path, "do", name, idempotency_key)
        self._points.reach("in the call, after it is done")
        await asyncio.sleep(0)
        self._points.reach("at the end of the call")
        return f"{name} done"

    async def was_done(self, name, idempotency_key=""):
        return f"{name} done" if self.knows(name) else NotDone()

    def knows(self, name):
        return ask(self._path, "ask", name)

    def tool(self, policy):
        probe = self.was_done if policy == "probe" else None
        return tool(name=f"do-{policy}", effect=policy, probe=probe)(self.do)


async def attempted(turn, call, *args):
    """What a call came to."""
    try:
        return await turn.effect(call, *args)
    except EffectDenied as error:
        return f"{args[0]} {'in doubt' if error.may_have_happened else 'denied'}"


async def agent(turn):
    """Make calls of one policy in one shape for some turns, and say what came of each."""
    side, (policy, shape, turns) = turn.deps, turn.input
    do, name = side.tool(policy), f"{turn.task.id}.{turn.number}"
    if shape == "requested":
        return requesting(turn, do.name, name, turns)
    if shape == "alone":
        found = [await attempted(turn, do, name)]
    elif shape == "concurrent":
        found = await asyncio.gather(*(attempted(turn, do, f"{name}.{n}") for n in range(3)))
    else:

        async def outer(name, idempotency_key=""):
            inner = await attempted(turn, do, f"{name}.inner")
            return [inner, await side.do(name, idempotency_key)]

        async def was_done(name, idempotency_key=""):
            return [f"{name}.inner done", await side.was_done(name)] if side.knows(name) else NotDone()

        probe = was_done if policy == "probe" else None
        both = await attempted(turn, tool(name="outer", effect=policy, probe=probe)(outer), name)
        found = both if isinstance(both, list) else [both]
    for text in found:
        turn.say(text)
    return turn.complete("done") if turn.number == turns else None


def requesting(turn, do, name, turns):
    """Have the kernel make two calls, and say in the next turn what came of them."""
    for message in turn.messages[-2:] if turn.number > 1 else ():
        (part,) = message.content
        turn.say(part.output if part.output.endswith(" done") else f"{part.call_id} in doubt")
    if turn.number > turns:
        return turn.complete("done")
    asked = [f"{name}.{n}" for n in range(2)]
    calls = [ToolCall(each, do, {"name": each}) for each in asked]
    return turn.request(Message.assistant(f"I call {do}", calls))


async def clerk(kernel, path):
    """Answer every question with what the other side knows: it is done and gave this, or do it again."""
    while any(not row.state.is_terminal() for row in kernel.tasks):
        await kernel.idle()
        for question in kernel.approvals():
            given, kind = question.payload["arguments"], question.payload["effect"]
            name = given["name"] if isinstance(given, dict) else given[0]
            outcome = f"{name} done" if kind != "outer" else [f"{name}.inner done", f"{name} done"]
            done = {"outcome": outcome} if ask(path, "ask", name) else {}
            await kernel.approve(question.task_id, question.key, **done)


def said_by(history):
    own = [message for message in history if message.role is Role.ASSISTANT]
    return [message.text for message in own if not message.tool_calls]


async def live(folder, agents, last=0):
    """One life of a kernel, to its end or to its death; what it had to say at its start and at its end.

    Args:
        folder: where its state and the other side's socket are.
        agents: by task id, what an agent is to do: policy, shape and number of turns.
        last: the number of the point at which it dies; 0 for none.
    """
    points, path = Points("", last=last), f"{folder}/counter"
    storage = FileStorage(f"{folder}/state", ops=points)
    saver = CheckpointHook(storage, every=None, signals=[], stop_signals=[])
    hooks, side = [Before(points), saver, After(points)], Side(path, points)
    tools = [side.tool(policy) for policy in POLICIES]
    async with Scheduler({"agent": agent}, run_id=RUN_ID, hooks=hooks, tools=tools, deps=side) as kernel:
        restored = kernel.restored
        for task_id, course in agents.items():
            await kernel.submit("agent", task_id=task_id, input=list(course))
        with anyio.fail_after(120):
            await clerk(kernel, path)
        said = {task_id: said_by(kernel.context(task_id).history) for task_id in agents}
        results = {task_id: result.text or result.error for task_id, result in (await kernel.join()).items()}
    await storage.aclose()
    return points.calls, restored.in_doubt if restored else (), said, results


DEATH = -signal.SIGKILL
