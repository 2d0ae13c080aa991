"""Random programs for the crash property: scripts of steps, and the world that they act upon."""

import asyncio

from hypothesis import strategies as st

from kernelckpt import Message, SchedulerBudget, ToolCall, tool
from kernelckpt.errors import EffectDenied

POLICIES = ("idempotent", "ask")


def scripts(depth=2):
    """Scripts: lists of steps, each of which is one turn; a step that spawns holds scripts."""
    policy = st.sampled_from(POLICIES)
    text = st.text(st.characters(codec="utf-8"), max_size=4)
    steps = [
        st.tuples(st.just("effect"), policy),
        st.tuples(st.just("say"), text),
        st.tuples(st.just("spend"), st.integers(0, 50)),
        st.tuples(st.just("state"), st.dictionaries(text, st.integers(-9, 9), max_size=3)),
        st.tuples(st.just("plan"), st.lists(text, max_size=3)),
        st.tuples(st.just("sleep"), st.integers(0, 3)),
        st.tuples(st.just("effect"), policy),
        st.tuples(st.just("tools"), st.lists(policy, min_size=1, max_size=3)),
        st.tuples(st.just("ask"), st.sampled_from(["yes", "no"])),
        st.tuples(st.sampled_from(["listen", "signal", "external"])),
        st.tuples(st.sampled_from(["fail", "park"])),
    ]
    if depth:
        child = st.tuples(scripts(depth - 1), st.sampled_from([2, 25])).map(list)
        steps.append(st.tuples(st.just("spawn"), st.lists(child, min_size=1, max_size=3)))
    return st.lists(st.one_of(steps).map(list), max_size=5)


def spent(script, turns):
    """Tokens that the first so many turns of a script spend."""
    return sum(step[1] for step in script[:turns] if step[0] == "spend")


class World:
    """What programs act upon: it outlives the kernel, and remembers what was done."""

    def __init__(self):
        self.done = []

        @tool(effect="idempotent", name="idempotent")
        async def again(key: str) -> str:
            return await self.act(key)

        @tool(effect="ask", name="ask")
        async def once(key: str) -> str:
            return await self.act(key)

        self.tools = [again, once]

    async def act(self, key):
        await asyncio.sleep(0)
        self.done.append(key)
        await asyncio.sleep(0)
        return f"did {key}"


async def play(turn):
    """Run the step of a script that the turn's number points to."""
    number, script = turn.number, turn.input
    before = script[number - 2][0] if number > 1 else ""
    for task_id, result in sorted(turn.results.items()):
        turn.say(f"{task_id} ended by {result.termination.value}: {result.text}{result.error}")
    if before == "listen":
        for message in turn.inbox:
            turn.append(message)
    if before == "signal":
        for signal in turn.signals:
            turn.append(Message.user(signal.summary))
    if before == "ask":
        turn.say(str({key: item.status.value for key, item in turn.approvals.items()}))
    turn.say(f"turn {number}")
    if number > len(script):
        return turn.complete(f"{turn.task.id} is done", output={"turns": number})
    kind, *arguments = script[number - 1]
    return await _STEPS[kind](turn, *arguments)


async def _say(turn, text):
    turn.say(text)


async def _spend(turn, tokens):
    turn.spend(tokens=tokens)
    await asyncio.sleep(0)


async def _state(turn, state):
    turn.set_state({"before": turn.state and turn.state["now"], "now": state})


async def _plan(turn, steps):
    turn.plan(steps)
    turn.progress(f"planned in turn {turn.number}")
    turn.directive(f"follow turn {turn.number}")


async def _sleep(turn, seconds):
    return turn.sleep(seconds)


async def _effect(turn, policy):
    try:
        turn.say(await turn.call(policy, key=f"{policy}:{turn.task.id}:{turn.number}"))
    except EffectDenied as error:
        turn.say(error.error)


async def _tools(turn, policies):
    number = turn.number
    calls = [
        ToolCall(f"{number}-{index}", policy, {"key": f"{policy}:{turn.task.id}:{number}:{index}"})
        for index, policy in enumerate(policies)
    ]
    return turn.request(Message.assistant("tools", calls))


async def _ask(turn, answer):
    return turn.ask_approval(f"{answer}-{turn.number}", "?", payload={"turn": turn.number})


async def _listen(turn):
    return turn.wait_for_message()


async def _signal(turn):
    return turn.wait_for_signal()


async def _external(turn):
    return turn.wait_external("go on")


async def _park(turn):
    return turn.wait_external("for ever")


async def _fail(turn):
    return turn.fail(f"failed in turn {turn.number}")


async def _spawn(turn, children):
    made = [
        turn.spawn("play", input=script, budget=SchedulerBudget(max_turns=turns))
        for script, turns in children
    ]
    return turn.join(*made)


_STEPS = {
    "say": _say,
    "spend": _spend,
    "state": _state,
    "plan": _plan,
    "sleep": _sleep,
    "effect": _effect,
    "tools": _tools,
    "ask": _ask,
    "listen": _listen,
    "signal": _signal,
    "external": _external,
    "park": _park,
    "fail": _fail,
    "spawn": _spawn,
}
