"""Random trees of agents that spend, sleep, ask, raise and come too late; what each comes to is known."""

from hypothesis import strategies as st

from kernelckpt import Charge, Program, Retry, SchedulerBudget, tool

RETRY = Retry(attempts=3, first=2.0)
DEADLINE_MS = 9_000


def nodes(depth=2):
    """Agents: whether their limits include what is below them, and their steps, a turn each."""
    steps = [
        st.tuples(st.just("charge"), st.integers(1, 9)),
        st.tuples(st.just("spend"), st.integers(1, 9)),
        st.tuples(st.just("sleep"), st.integers(0, 20)),
        st.tuples(st.just("ask")),
        st.tuples(st.just("raise"), st.integers(1, 2)),
        st.tuples(st.just("late")),
    ]
    if depth:
        steps.append(st.tuples(st.just("spawn"), st.lists(nodes(depth - 1), min_size=1, max_size=2)))
    return st.tuples(st.booleans(), st.lists(st.one_of(steps).map(list), min_size=1, max_size=5)).map(list)


def tokens_of(node):
    """What an agent is charged for its calls, and what all below it are."""
    own = below = 0
    for kind, *arguments in node[1]:
        if kind == "charge":
            own += arguments[0]
        for child in arguments[0] if kind == "spawn" else ():
            below += sum(tokens_of(child))
    return own, below


def limits_of(node):
    """The budget of an agent; one that waits for nothing but its deadline has one."""
    return SchedulerBudget(include_children=node[0])


LATE = SchedulerBudget(deadline_after_ms=DEADLINE_MS)


@tool(effect="idempotent", charge=Charge)
async def model(tokens: int, turn: int) -> int:
    """What it costs is charged once, however often the turn is run."""
    return tokens


async def late(turn):
    """Wait for a word that never comes."""
    return turn.wait_external("a word")


async def play(turn):
    """Run the step that the turn's number points to, and note when the one before was over."""
    number, (_, steps) = turn.number, turn.input
    if number > 1:
        turn.say(_seen(turn, steps[number - 2][0]))
    if number > len(steps):
        return turn.complete()
    kind, *arguments = steps[number - 1]
    if kind == "charge":
        await turn.effect(model, arguments[0], turn=number)
    elif kind == "spend":
        turn.spend(cost_micros=arguments[0])
    elif kind == "raise" and turn.task.failed < arguments[0]:
        raise ValueError("not yet")
    elif kind == "sleep":
        turn.set_state(turn.deps.wall_ms() + 1000 * arguments[0])
        return turn.sleep(arguments[0])
    elif kind == "ask":
        return turn.ask_approval(f"{number}", "?")
    elif kind == "late":
        return turn.join(turn.spawn("late", task_id=f"{turn.task.id}/{number}", budget=LATE))
    elif kind == "spawn":
        return turn.join(*(_spawn(turn, index, child) for index, child in enumerate(arguments[0])))
    turn.say("on")
    return None


def _seen(turn, kind):
    if kind == "sleep":
        return f"slept {turn.deps.wall_ms() >= turn.state}"
    if kind == "ask":
        return f"answered {turn.approvals[str(turn.number - 1)].status.value}"
    if kind == "late":
        return "late " + " ".join(result.termination.value for result in turn.results.values())
    return kind


def _spawn(turn, index, child):
    name = f"{turn.task.id}/{turn.number}.{index}"
    return turn.spawn("play", task_id=name, input=child, budget=limits_of(child))


PROGRAMS = {"play": Program(play, retry=RETRY), "late": late}
