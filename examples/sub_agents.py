"""An agent that hands out work to sub-agents, waits for them, and puts their results together.

Run `python examples/sub_agents.py`, kill it while the sub-agents work, and run it again: children that
have ended keep their results, the others go on, and the parent still waits for those that are left.
Delete the folder `state` to begin anew.

SURVEY_PAUSE is how many seconds a sub-agent takes for a page.
"""

import asyncio
import os

from kernelckpt import CheckpointHook, Next, Scheduler, SchedulerBudget, Turn

PAUSE = float(os.environ.get("SURVEY_PAUSE", "0.5"))
TOPICS = {"rivers": 3, "lakes": 2, "seas": 4}


async def survey(turn: Turn) -> Next | None:
    """The parent: spawn and wait in the first turn, sum up in the second."""
    if turn.number == 1:
        limits = SchedulerBudget(max_turns=10)
        children = [
            turn.spawn("read", goal=topic, input=pages, budget=limits) for topic, pages in TOPICS.items()
        ]
        turn.plan(["read each topic", "sum up"], current_step=0)
        return turn.join(*children)
    return turn.complete("; ".join(result.text for result in turn.results.values()))


async def read(turn: Turn) -> Next | None:
    """A sub-agent: one page a turn; what it has read is its state."""
    done = [*(turn.state or []), f"{turn.goal} p.{turn.number}"]
    await asyncio.sleep(PAUSE)  # a model would be called here
    turn.spend(tokens=100)
    print(done[-1], flush=True)
    if len(done) == turn.input:
        return turn.complete(f"{turn.goal}: {len(done)} pages")
    turn.set_state(done)
    return None


async def main() -> None:
    """Run the survey to its end, however often it is interrupted."""
    hook = CheckpointHook("file:./state")
    programs = {"survey": survey, "read": read}
    async with Scheduler(programs, run_id="survey", hooks=[hook]) as kernel:
        await kernel.submit("survey", task_id="waters", goal="survey the waters")
        result = await kernel.join("waters")
        tokens = sum(row.budget.total_tokens for row in kernel.tasks.all())
    print(f"{result.text} ({tokens} tokens)")


if __name__ == "__main__":
    asyncio.run(main())
