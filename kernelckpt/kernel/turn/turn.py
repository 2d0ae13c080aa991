"""The turn: what a program sees of its task, and how it says what shall become of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from kernelckpt.codec.plain import check_plain
from kernelckpt.codec.record import unshared
from kernelckpt.errors import UsageError
from kernelckpt.kernel.argument import (
    check_text,
    checked_message,
    kept_reason,
    milliseconds,
)
from kernelckpt.kernel.calls.tool import Tool, as_tool
from kernelckpt.kernel.core import MESSAGE, Core
from kernelckpt.kernel.governance.pass_spawn import pass_spawn
from kernelckpt.kernel.program import Program
from kernelckpt.kernel.question import KERNEL_KEYS
from kernelckpt.kernel.spawn import make_spawn
from kernelckpt.kernel.spending import check_charge, put_charge
from kernelckpt.kernel.turn import ending
from kernelckpt.kernel.turn.calls import Gated, TurnCalls
from kernelckpt.kernel.turn.memory import TurnMemory
from kernelckpt.kernel.turn.staged import Staged
from kernelckpt.model.approval import Approval
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.charge import Charge
from kernelckpt.model.message import Message, Role
from kernelckpt.model.process import AgentIsolation, AgentRole
from kernelckpt.model.rollback import RollbackReason
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.tcb import Tcb


class _Call(Protocol):
    def __call__(
        self,
        task_id: str,
        tool: Tool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        calls: TurnCalls,
        *,
        is_by_name: bool = ...,
    ) -> Awaitable[Any]: ...


class Turn(TurnMemory):
    """One transaction of one task: read what is committed, stage operations, end.

    What is read is the state at the turn's begin. What is staged becomes state in one commit when the
    program returns, or vanishes when it raises or is cancelled. Effects and what is spent stay either way.
    """

    has_waited = False
    _calls: TurnCalls | None = None

    def __init__(self, core: Core, row: Tcb, program: Program, deps: Any, call: _Call) -> None:
        """Made by the scheduler."""
        super().__init__(core, row, program, deps)
        self._call = call

    @property
    def calls(self) -> TurnCalls:
        """The calls it makes."""
        if self._calls is None:
            self._calls = TurnCalls(self._cell, self.number)
        return self._calls

    @property
    def is_plain(self) -> bool:
        """Whether it has made no calls, and no earlier attempt at it has."""
        return self._calls is None and not self._cell.effects

    @property
    def gated(self) -> Mapping[int, Gated]:
        """Those of its calls that a human must allow first."""
        return {} if self._calls is None else self._calls.gated

    # staging

    def spawn(
        self,
        program: str,
        *,
        goal: str = "",
        input: Any = None,  # noqa: A002 - the name users write
        role: AgentRole | str = AgentRole.CUSTOM,
        isolation: AgentIsolation | str = AgentIsolation.SHARED,
        budget: SchedulerBudget | None = None,
        caps: Sequence[str] = (),
        messages: Sequence[Message] = (),
        task_id: str | None = None,
        run_spec: AgentRunSpec | None = None,
    ) -> str:
        """Stage a child task; it exists once the turn is committed.

        Args:
            program: the name of its program.
            goal: what it is to do.
            input: its input, of the program's type.
            role: its role, a label.
            isolation: its isolation, a label.
            budget: its limits; the scheduler's by default.
            caps: ids of its capabilities.
            messages: its first history.
            task_id: its id; by default the same on every run of the turn.
            run_spec: who it runs as, what it may use of what its parent may, the milestones it must pass;
                goal, role and isolation may be said there.

        Returns:
            Its id, to join.

        Raises:
            UnknownProgramError: no such program.
            UsageError: the id is taken.
            GovernanceError: governance does not let it be spawned, or not before a human says so.
        """
        self._still_open("spawn")
        number = self._row.spawned + len(self._staged.spawns) + 1
        child = task_id if task_id is not None else f"{self._row.id}/{program}-{number}"
        if child in self._staged.spawns or child in self._core.state.table:
            raise UsageError(f"task {child!r} exists already", hint="spawn under another task_id")
        with self._core.redactor.errors():
            spawn = make_spawn(
                self._core,
                program,
                child,
                goal=goal,
                value=input,
                labels=(role, isolation),
                budget=budget,
                caps=caps,
                messages=messages,
                run_spec=run_spec,
            )
        pass_spawn(self._core, self._row.id, spawn, len(self._staged.spawns), self.calls)
        self._staged.spawns[child] = spawn
        return child

    def emit(self, delta: Any) -> None:
        """Show a draft to whoever listens to `kernel.events()`, redacted; nothing of it is kept.

        If the turn is lost they are told: the event "discarded" takes back its drafts. What runs on when the
        turn is over shows nothing any more.
        """
        if self._over:
            return
        self._core.events.emit("draft", self._row.id, self.number, delta=delta)

    def spend(self, tokens: int = 0, cost_micros: int = 0) -> None:
        """Charge the task, at once: what is spent stays spent even when the turn is aborted.

        A turn that is run again spends again. What a call through the ledger costs is charged once by
        `tool(charge=...)`, however often its turn is run.

        Spent after the task was forgotten, it is charged to the kernel, and to whoever above it includes it.

        Raises:
            InvalidValueError: not a whole number of 0 or more.
        """
        charge = Charge(tokens, cost_micros)
        check_charge(self._core, charge)
        is_kept = self._core.state.find_cell(self._row.id) is self._cell
        put_charge(self._core, self._row.id if is_kept else None, self._row.parent, charge)
        self._core.state.commit(urgent=False)

    # calls

    async def effect(self, fn: Callable[..., Any] | Tool, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function through the ledger: at most once unless it was declared idempotent.

        Run again after a crash, the turn gets the recorded outcome. What is done about a call of which nobody
        knows whether it happened is said by its policy; by default the task waits for `approve` (do it again,
        or with an outcome: it is done) or `deny`. The function may be sync (it runs in a thread) or async.

        Calls are known by name and arguments, and told apart by their order if they are alike; those made at
        the same time need keys then: `tool(fn).options(key=...)`. A later attempt at the turn that goes
        another way waits for a human, unless what was done may be repeated.

        It gets the arguments as they are given here; what is kept of them, and what comes back, is redacted,
        alike now and on a rerun. Calls that differ in secrets only are alike, and told apart by their order.

        Raises:
            EffectError: it raised; `__cause__` is not kept, so that a rerun sees the same.
            EffectDenied: it was in doubt and denied, or is to fail then.
            InvalidValueError: its arguments, or values of the type that it returns, cannot be kept.
            UsageError: one alike is under way, or it must not be made where nothing is kept.
        """
        self._still_open("effect")
        self._staged.effects += 1
        return await self._call(self._row.id, as_tool(fn), args, kwargs, self.calls)

    async def call(self, tool: Tool | str, /, **arguments: Any) -> Any:
        """Call a registered tool through the ledger; see `effect`.

        Raises:
            UnknownToolError: it is not registered with the scheduler.
            InvalidValueError: the arguments do not fit it.
        """
        self._still_open("call")
        self._staged.effects += 1
        self._core.redactor.refuse(tool, "tool")
        found = self._core.tools.find(tool)
        return await self._call(self._row.id, found, (), arguments, self.calls, is_by_name=True)

    # endings

    def join(self, *children: str) -> ending.Next:
        """Wait until these children have ended (all live ones when none is named); then see `results`.

        Raises:
            UsageError: one is not a child of this task.
        """
        table = self._core.state.table
        if not children:
            live = [row.id for row in table.live_children_of(self._row.id)]
            children = (*live, *self._staged.spawns)
        for child in children:
            check_text(child, "child")
            self._core.redactor.refuse(child, "child")
            row = table.get(child)
            if child not in self._staged.spawns and (row is None or row.parent != self._row.id):
                raise UsageError(
                    f"task {child!r} is not a child of {self._row.id!r}", hint="join what spawn returned"
                )
        return self._end(ending.Join(tuple(dict.fromkeys(children))))

    def sleep(self, seconds: float) -> ending.Next:
        """Wait so long; the timer survives a restart, and is due at once when its time passed meanwhile.

        Raises:
            InvalidValueError: not a number of seconds, 0 or more.
        """
        pause = milliseconds(seconds, "seconds")
        return self._end(ending.Sleep(self._core.clock.wall_ms() + pause))

    def wait_for_message(self) -> ending.Next:
        """Wait for a message that this turn has not read."""
        return self._end(ending.WaitMessage())

    def wait_for_signal(self) -> ending.Next:
        """Wait for a signal that this turn has not read."""
        return self._end(ending.WaitSignal())

    def wait_external(self, reason: str) -> ending.Next:
        """Wait until somebody calls `kernel.resume`."""
        check_text(reason, "reason")
        if reason == MESSAGE:
            raise UsageError(
                f"the reason {MESSAGE!r} is taken", hint="use wait_for_message, or another reason"
            )
        return self._end(ending.WaitExternal(reason))

    def ask_approval(
        self, key: str, prompt: str, payload: Any = None, timeout: float | None = None
    ) -> ending.Next:
        """Ask a human; the answer is in `approvals[key]` in the next turn, after a restart too.

        Args:
            key: the question's id; one that was asked before is not asked again, but waited for.
            prompt: the question.
            payload: plain data to decide upon.
            timeout: seconds after which silence counts as denied.

        Raises:
            InvalidValueError: an argument cannot be kept exactly.
            UsageError: the key begins as those of the kernel's own questions do.
        """
        for name, text in (("key", key), ("prompt", prompt)):
            check_text(text, name)
        self._core.redactor.refuse(key, "key")
        if key.startswith(KERNEL_KEYS):
            message = f"the key {key!r} begins like those of the kernel's own questions"
            raise UsageError(message, hint="use another key")
        with self._core.redactor.errors():
            check_plain(payload, "payload")
        now = self._core.clock.wall_ms()
        expires = None if timeout is None else now + milliseconds(timeout, "timeout")
        item = Approval(self._row.id, key, prompt, payload, asked_at_ms=now, expires_at_ms=expires)
        return self._end(ending.Ask(unshared(item)))

    def request(self, reply: Message) -> ending.Next:
        """Commit an assistant message and have the kernel run its tool calls through the ledger.

        The next turn finds one tool message per call, in their order. The tools get the arguments as the
        state holds them: redacted, alike now and after a restore.

        Raises:
            InvalidValueError: it is no message, or cannot be kept exactly.
            UsageError: it is not the assistant's, or its calls lack ids of their own.
        """
        with self._core.redactor.errors():
            reply = self._core.redactor.admitted(checked_message(reply, "reply"), "reply")
        if reply.role is not Role.ASSISTANT:
            message = f"a reply of the {reply.role.value} cannot request tool calls"
            raise UsageError(message, hint="pass Message.assistant(text, tool_calls)")
        ids = {call.id for call in reply.tool_calls}
        if "" in ids or len(ids) != len(reply.tool_calls):
            message = "the tool calls of a message need ids, each its own"
            raise UsageError(message, hint="give each ToolCall an id")
        return self._end(ending.Request(reply))

    def rollback(self, reason: RollbackReason) -> ending.Next:
        """Undo this turn: nothing it staged is kept, a note says why, and the next turn begins.

        It counts as a turn. What really happened stays: effects keep their outcomes for the next turn.

        Args:
            reason: why, as `ProviderFailure("the connection was lost")`.

        Raises:
            InvalidValueError: it is none, or holds what cannot be kept exactly.
        """
        return self._end(ending.Rollback(kept_reason(reason)))

    def complete(self, text: str = "", output: Any = None) -> ending.Next:
        """The task is done, with this text and output as its result.

        With milestones left, the current phase is taken for done: it is judged, and unless it was the last
        one the task has another turn.
        """
        check_text(text, "text")
        data = None if output is None else self._core.redactor.value(self._program.output, output, "output")
        return self._end(ending.Complete(text, data))

    def fail(self, text: str) -> ending.Next:
        """The task has failed."""
        check_text(text, "text")
        return self._end(ending.Fail(text))

    def show_begun(self) -> None:
        """Commit that the turn was begun, if no commit holds it yet: it waits, and others may look.

        The begin of a turn that never waits for anything is part of the commit that ends it.
        """
        self.has_waited = True
        if self._core.state.uncommitted:
            self._core.state.commit(urgent=False)

    @property
    def chosen(self) -> ending.Next | None:
        """The ending that was called, if one was."""
        return self._ending

    def leaves_calls(self) -> bool:
        """Whether it goes another way than an earlier attempt at it, which has made calls that it has not.

        A turn that is taken back leaves its calls to the next one.
        """
        if isinstance(self._ending, ending.Rollback) or not self._cell.effects:
            return False
        return self.calls.hold_left()

    @property
    def stalled(self) -> bool:
        """Whether another turn would begin exactly where this one did."""
        return self._staged.empty

    @property
    def staged(self) -> Staged:
        """What was staged."""
        return self._staged

    def close(self) -> None:
        """Called by the scheduler when the program is done: what is staged from now on would be lost."""
        self._over = True
        if self._calls is not None:
            self._calls.end()

    def _end(self, what_next: ending.Next) -> ending.Next:
        self._still_open("end the turn")
        self._ending = what_next
        return what_next
