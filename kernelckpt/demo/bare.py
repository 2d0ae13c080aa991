"""The same agents on bare asyncio: a turn, a spawn, a join, and nothing that outlives the process."""

# ruff: noqa: D102 - what the agents call is documented in Turn

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup

from kernelckpt import Approval, ApprovalStatus, LoopResult, TerminationReason, Tool
from kernelckpt.demo.agents import PROGRAMS, ROOT
from kernelckpt.demo.message import Config, Finished, Moment, Usage
from kernelckpt.demo.pipe import Lines
from kernelckpt.demo.side import PLACES, Question, hear, watch
from kernelckpt.demo.site import Site

Program = Callable[[Any], Awaitable[Any]]


async def run_bare(config: Config, lines: Lines) -> Finished:
    """Run the survey from its beginning; a kill leaves nothing of it."""
    site = Site(config, lambda: runner.turn)
    async with anyio.create_task_group() as group:
        runner = BareRunner({name: program.fn for name, program in PROGRAMS.items()}, site, group)
        await site.reach(Moment.RESTORE)
        group.start_soon(watch, runner, site)
        group.start_soon(hear, runner, lines)
        root = Agent("tree", ROOT, config.tree)
        runner.start(root)
        await root.done.wait()
        group.cancel_scope.cancel()
    assert root.result is not None
    tokens = sum(agent.tokens for agent in runner.agents.values())
    return Finished(runner.turn, tokens, problem=root.result.error)


class Agent:
    """One agent: plain variables of this process."""

    def __init__(self, program: str, task_id: str, value: Any) -> None:
        self.program = program
        self.id = task_id
        self.input = value
        self.state: Any = None
        self.turns = self.tokens = 0
        self.history: list[str] = []
        self.joined: tuple[str, ...] = ()
        self.approvals: dict[str, Approval] = {}
        self.result: LoopResult | None = None
        self.done = anyio.Event()


class BareTurn:
    """What the agents use of `Turn`. An ending is what to await before the next turn."""

    def __init__(self, runner: BareRunner, agent: Agent) -> None:
        self._runner = runner
        self.task = agent
        self.deps = runner.site
        self.number = agent.turns + 1
        self.input = agent.input
        self.state = agent.state
        self.approvals = agent.approvals
        self.results = {name: runner.agents[name].result for name in agent.joined}

    def say(self, text: str) -> None:
        self.task.history.append(text)

    def emit(self, _: str) -> None:
        """Nobody listens here."""

    def set_state(self, state: Any) -> None:
        self.task.state = state

    def spend(self, tokens: int) -> None:
        self.task.tokens += tokens

    def spawn(self, program: str, *, task_id: str, input: Any, goal: str) -> str:  # noqa: A002, ARG002
        self._runner.start(Agent(program, task_id, input))
        return task_id

    async def call(self, tool: str, /, **arguments: Any) -> Any:
        return await self._runner.tools[tool].run((), arguments)

    def join(self, *names: str) -> Coroutine[Any, Any, None]:
        self.task.joined = names
        return self._runner.wait_for(names)

    def ask_approval(self, key: str, prompt: str, payload: Any) -> Coroutine[Any, Any, None]:
        return self._runner.ask(self.task, Approval(self.task.id, key, prompt, payload))

    def complete(self, text: str, output: Any = None) -> None:
        self.task.history.append(text)
        self._end(TerminationReason.COMPLETED, output, "")

    def fail(self, text: str) -> None:
        self._end(TerminationReason.ERROR, None, text)

    def _end(self, reason: TerminationReason, output: Any, error: str) -> None:
        agent = self.task
        agent.result = LoopResult(reason, None, self.number, agent.tokens, error=error, output=output)


class BareRunner:
    """Runs agents in a task group, a few turns at a time."""

    def __init__(self, programs: Mapping[str, Program], site: Site, group: TaskGroup) -> None:
        self.site = site
        self.tools: Mapping[str, Tool] = site.tools()
        self.agents: dict[str, Agent] = {}
        self.turn = self.ended = 0
        self.joining = False
        self.usage = Usage()
        self._programs = programs
        self._group = group
        self._places = anyio.CapacityLimiter(PLACES)
        self._asked: dict[tuple[str, str], tuple[Agent, Approval, anyio.Event]] = {}

    def start(self, agent: Agent) -> None:
        self.agents[agent.id] = agent
        self._group.start_soon(self._run, agent)

    async def _run(self, agent: Agent) -> None:
        while agent.result is None:
            async with self._places:
                what_next = await self._programs[agent.program](BareTurn(self, agent))
                agent.turns += 1
                self.turn += 1
            if what_next is not None:
                await what_next
        self.ended += 1
        agent.done.set()

    async def wait_for(self, names: tuple[str, ...]) -> None:
        self.joining = True
        for name in names:
            await self.agents[name].done.wait()
        self.joining = False

    async def ask(self, agent: Agent, approval: Approval) -> None:
        answered = anyio.Event()
        self._asked[agent.id, approval.key] = (agent, approval, answered)
        await answered.wait()

    def questions(self) -> list[Question]:
        return [Question(agent.id, item.key, item.prompt) for agent, item, _ in self._asked.values()]

    async def answer(self, task: str, key: str, *, approve: bool) -> None:
        agent, item, answered = self._asked.pop((task, key))
        status = ApprovalStatus.APPROVED if approve else ApprovalStatus.DENIED
        agent.approvals[key] = Approval(task, key, item.prompt, item.payload, status)
        answered.set()
