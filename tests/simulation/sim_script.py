"""Random agents for the simulation: scripts of steps, one a turn, and the program that plays them."""

import asyncio

from kernelckpt import Message, Program, SchedulerBudget, ToolCall, tool
from kernelckpt.errors import EffectDenied, EffectError

POLICIES = ("ask", "idempotent")
STEPS = (
    "say", "spend", "spend", "state", "call", "call", "call", "twice", "tools", "sleep", "sleep", "slow",
    "listen", "listen", "signal", "question", "question", "external", "spawn", "spawn",
)  # fmt: skip


def random_script(chance, depth=2):
    """A list of steps; those that spawn hold scripts."""
    script = [_random_step(chance, depth) for _ in range(chance.randint(1, 8))]
    if chance.random() < 0.15:
        script.append([chance.choice(["fail", "crash", "park"])])
    return script


def _random_step(chance, depth):
    kind = chance.choice(STEPS)
    match kind:
        case "say" | "state":
            return [kind, chance.randrange(100)]
        case "spend":
            return [kind, chance.randrange(50)]
        case "call" | "twice":
            return [kind, chance.choice(POLICIES)]
        case "tools":
            return [kind, [chance.choice(POLICIES) for _ in range(chance.randint(1, 3))]]
        case "sleep":
            return [kind, chance.choice([0.01, 0.1, 1, 5, 100])]
        case "slow":
            return [kind, chance.choice([0.001, 0.02, 0.3])]
        case "question":
            return [kind, chance.choice([None, None, 2, 30])]
        case "spawn":
            if not depth:
                return ["say", 0]
            children = [
                [random_script(chance, depth - 1), chance.choice([1, 3, 30, 30, 30])]
                for _ in range(chance.randint(1, 3))
            ]
            return [kind, children, chance.random() < 0.8]
    return [kind]


def programs(world):
    """The program of all agents, acting upon a world."""

    async def play(turn):
        return await _play(turn, world)

    return {"play": Program(play)}


def tools(world):
    """What agents may call: `ask` must not be done twice, `idempotent` may."""

    @tool(effect="idempotent", name="idempotent")
    async def again(key: str) -> str:
        return await world.act(key)

    @tool(effect="ask", name="ask")
    async def once(key: str) -> str:
        return await world.act(key)

    return [again, once]


async def _play(turn, world):
    """Note what has come, then do the step of the script that the turn's number points to."""
    number, script = turn.number, turn.input
    for message in turn.inbox:
        turn.say(f"heard {message.text}")
    for signal in turn.signals:
        turn.say(f"signal {signal.summary}")
    for task_id, result in sorted(turn.results.items()):
        turn.say(f"child {task_id}: {result.termination.value} {result.text}{result.error}")
    for key, item in sorted(turn.approvals.items()):
        if key == f"question-{number - 1}":
            turn.say(f"answer {key} {item.status.value}")
    turn.say(f"turn {number}")
    if number > len(script):
        return turn.complete(f"{turn.task.id} is done", output=number)
    return await _step(turn, world, *script[number - 1])


async def _step(turn, world, kind, *arguments):
    match kind, arguments:
        case "spend", [tokens]:
            turn.spend(tokens=tokens, cost_micros=1)
            await asyncio.sleep(0)
        case "state", [value]:
            turn.set_state([value, turn.state])
        case "call", [policy]:
            await _call(turn, world, policy, 0)
        case "twice", [policy]:
            await _call(turn, world, policy, 0)
            await _call(turn, world, policy, 1)
        case "tools", [policies]:
            return turn.request(Message.assistant("tools", _tool_calls(turn, policies)))
        case "sleep", [seconds]:
            return turn.sleep(seconds)
        case "slow", [seconds]:
            await asyncio.sleep(seconds)
        case "listen", _:
            return turn.wait_for_message()
        case "signal", _:
            return turn.wait_for_signal()
        case "question", [timeout]:
            return turn.ask_approval(f"question-{turn.number}", "?", timeout=timeout)
        case "external", _:
            return turn.wait_external("go on")
        case "park", _:
            return turn.wait_external("for ever")
        case "spawn", [children, joins]:
            made = [
                turn.spawn(
                    "play",
                    task_id=f"{turn.task.id}.{turn.number}.{index}",
                    input=script,
                    budget=SchedulerBudget(max_turns=turns),
                )
                for index, (script, turns) in enumerate(children)
            ]
            return turn.join(*made) if joins else None
        case "fail", _:
            return turn.fail("told to fail")
        case "crash", _:
            raise RuntimeError("told to crash")
    return None


async def _call(turn, world, policy, index):
    """Call a tool; what comes of it is the same whenever this turn is run."""
    key = call_key(turn.task.id, turn.number, index)
    try:
        found = await turn.call(policy, key=key)
    except EffectDenied:
        found = "denied"
    except EffectError:
        found = "raised"
    world.saw_outcome(key, found)
    turn.say(f"called {key}: {found}")


def _tool_calls(turn, policies):
    return [
        ToolCall(f"{turn.number}-{index}", policy, {"key": call_key(turn.task.id, turn.number, index)})
        for index, policy in enumerate(policies)
    ]


def call_key(task_id, turn, index):
    """What the world knows a call by."""
    return f"{task_id}/{turn}/{index}"


def plan_of(roots, task_id):
    """The script and the limit of turns of a task; ids of children say in which turn they were spawned."""
    root, *path = task_id.split(".")
    plan = roots[root]
    for turn, index in zip(path[::2], path[1::2], strict=True):
        plan = plan[0][int(turn) - 1][1][int(index)]
    return plan


def calls_of(step):
    """The policies of the calls that a step makes, in order."""
    match step:
        case ["call", policy]:
            return [policy]
        case ["twice", policy]:
            return [policy, policy]
        case ["tools", policies]:
            return policies
    return []
