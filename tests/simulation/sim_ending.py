"""What must hold when all is done: every script was played, and nothing was done twice or not at all."""

from collections import Counter

from sim_script import call_key, calls_of, plan_of


def check_ending(world, owner):
    """Compare the last owner's table with the scripts, and with what the world saw."""
    for row in owner.kernel.tasks:
        said = [message.text for message in owner.kernel.context(row.id).history]
        script, limit = plan_of(world.roots, row.id)
        if not row.state.is_terminal():
            continue
        _check_end(world, row, script, limit)
        _check_calls(world, row, script)
        _check_said(world, row, said)
    for child in _children(owner.kernel.tasks, world):
        world.check(child in owner.kernel.tasks, f"child {child} was spawned and is gone")


def _check_end(world, row, script, limit):
    """How a task ended, and after how many turns, is what its script says, unless it was cancelled."""
    reason, turns = row.state.reason.value, row.budget.turns
    if reason == "user_abort":
        return world.check(_was_cancelled(world, row.id), f"{row.id} was aborted, but nobody asked for that")
    expected = "completed", len(script) + 1
    if script[-1][0] == "fail":
        expected = "error", len(script)
    elif script[-1][0] == "crash":
        expected = "error", len(script) - 1
    if (turns >= limit and expected[1] > limit) or (
        expected[0] == "error" and script[-1][0] == "crash" and limit <= len(script) - 1
    ):
        expected = "max_turns", limit
    return world.check((reason, turns) == expected, f"{row.id} ended as {reason}, {turns}, not {expected}")


def _was_cancelled(world, task_id):
    return any(task_id == above or task_id.startswith(f"{above}.") for above in world.cancel_tried)


def _check_calls(world, row, script):
    """Each call of a committed turn was made: once if it must not be repeated."""
    for turn, step in enumerate(script[: row.budget.turns], 1):
        for index, policy in enumerate(calls_of(step)):
            made = world.calls[call_key(row.id, turn, index)]
            enough = made == 1 if policy == "ask" else made >= 1
            aborted = step[0] == "tools" and row.state.reason.value in {"user_abort", "max_turns"}
            world.check(enough or aborted, f"call {turn}/{index} of {row.id} was made {made} times")


def _check_said(world, row, said):
    """No message was taken twice, and questions were answered as they were."""
    heard = Counter(text for text in said if text.startswith("heard "))
    twice = [text for text, count in heard.items() if count > 1]
    world.check(not twice, f"{row.id} took twice: {twice}")
    for text in said:
        if text.startswith("answer "):
            _, key, status = text.split()
            known = world.answered.get((row.id, key))
            world.check(known in (None, status), f"{row.id} was told {status} of {key}, not {known}")


def _children(table, world):
    """The children that committed turns have spawned."""
    for row in table:
        for turn, step in enumerate(plan_of(world.roots, row.id)[0][: row.budget.turns], 1):
            if step[0] == "spawn":
                yield from (f"{row.id}.{turn}.{index}" for index in range(len(step[1])))
