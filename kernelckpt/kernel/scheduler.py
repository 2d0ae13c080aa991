"""The async scheduler: hosts the table, runs turns, calls the hooks, answers the outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from kernelckpt.abc import Clock, RuntimeHook
from kernelckpt.codec.record import unshared
from kernelckpt.errors import SchedulerStopped, UsageError
from kernelckpt.kernel import attention, intake
from kernelckpt.kernel.argument import check_name, kept
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.kernel.core import result_of
from kernelckpt.kernel.event import KernelEvent, Listener
from kernelckpt.kernel.event_log import EventLog
from kernelckpt.kernel.host import End, Host
from kernelckpt.kernel.program import Program, ProgramFunction, Programs
from kernelckpt.kernel.restore import RestoreReport
from kernelckpt.kernel.snapshot import snapshot_of
from kernelckpt.kernel.spawn import make_spawn
from kernelckpt.kernel.table import TaskTable
from kernelckpt.kernel.tool import Tool, Tools
from kernelckpt.kernel.view import ContextView, TableView
from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.message import Message
from kernelckpt.model.process import AgentIsolation, AgentRole
from kernelckpt.model.result import LoopResult
from kernelckpt.model.signal import Disposition, RuntimeSignal
from kernelckpt.model.snapshot import KernelSnapshot
from kernelckpt.model.tcb import Tcb


class Scheduler(Host):
    """Hosts a table of tasks and runs their turns; an async context manager.

    Entering calls each hook's `on_start`, which may restore a state; leaving stops gracefully: running
    turns are given ten seconds, the hooks write what is to be written. A kernel that is halted, by a hook or
    by a storage that has failed for good, cancels the body of its `async with`, which then raises why.
    """

    def __init__(
        self,
        programs: Mapping[str, Program | ProgramFunction],
        *,
        run_id: str,
        hooks: Iterable[RuntimeHook] = (),
        tools: Iterable[Tool | Callable[..., Any]] = (),
        deps: Any = None,
        budget: SchedulerBudget = SchedulerBudget(max_turns=10_000),  # noqa: B008 - frozen
        max_concurrency: int | None = None,
        keep_done: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Describe a kernel; nothing runs before it is entered.

        Args:
            programs: the programs by name; names are kept in checkpoints, functions are not.
            run_id: the name of the run to begin or to go on with.
            hooks: called at fixed points, in this order (in reverse on stop).
            tools: functions that agents may call by name.
            deps: handed to every turn as `turn.deps`; never kept.
            budget: limits of tasks that are given none.
            max_concurrency: how many turns may run at a time; None for no limit.
            keep_done: how many finished root tasks are kept, the newest; None for all of them.
            clock: the source of time.

        Raises:
            UsageError: an argument is off.
        """
        check_name(run_id, "run_id")
        for name, value, least in (("max_concurrency", max_concurrency, 1), ("keep_done", keep_done, 0)):
            if value is not None and (type(value) is not int or value < least):
                raise UsageError(f"{name} is {value!r}", hint=f"a whole number, {least} or more, or None")
        super().__init__(
            Programs(programs),
            Tools(tools),
            run_id=run_id,
            hooks=hooks,
            deps=deps,
            budget=kept(budget, SchedulerBudget, "budget"),
            max_concurrency=max_concurrency,
            keep_done=keep_done,
            clock=clock or SystemClock(),
        )

    # from outside

    async def submit(
        self,
        program: str,
        *,
        task_id: str,
        goal: str = "",
        input: Any = None,  # noqa: A002 - the name users write
        role: AgentRole | str = AgentRole.CUSTOM,
        isolation: AgentIsolation | str = AgentIsolation.SHARED,
        budget: SchedulerBudget | None = None,
        caps: Sequence[str] = (),
        messages: Sequence[Message] = (),
    ) -> str:
        """Add a root task; durable on return. The same id again changes nothing.

        Args:
            program: the name of its program.
            task_id: its id.
            goal: what it is to do.
            input: its input, of the program's type.
            role: its role, a label.
            isolation: its isolation, a label.
            budget: its limits; the scheduler's by default.
            caps: ids of its capabilities.
            messages: its first history.

        Returns:
            The task's id.

        Raises:
            UnknownProgramError: no such program.
            TaskMismatchError: the id is taken by another program or input.
            InvalidValueError: the input cannot be kept exactly.
            SchedulerStopped: the kernel is stopping.
        """
        self._accepting()
        spawn = make_spawn(
            self._core,
            program,
            task_id,
            goal=goal,
            value=input,
            labels=(role, isolation),
            budget=budget,
            caps=caps,
            messages=messages,
        )
        intake.submit(self._core, spawn)
        await self._durable(self.commit_number)
        return task_id

    async def send(self, task_id: str, message: Message | str, *, key: str | None = None) -> None:
        """Put a user message into a task's inbox; durable on return.

        Args:
            task_id: the task.
            message: the message, or its text.
            key: sending again under the same key changes nothing.

        Raises:
            UnknownTaskError: no such task.
            UsageError: it has ended.
        """
        self._accepting()
        intake.send(self._core, task_id, message, key)
        await self._durable(self.commit_number)

    async def signal(self, signal: RuntimeSignal, task_id: str | None = None) -> Disposition:
        """Route a signal; what was decided, durable on return.

        Args:
            signal: the signal.
            task_id: the task it is for; by default the first that waits for one, else the first root.
        """
        self._accepting()
        disposition = attention.route(self._core, signal, task_id)
        await self._durable(self.commit_number)
        self._core.events.emit("signal", task_id or "", disposition=disposition.value)
        await self._hooks.on_signal(self, signal)
        return disposition

    def approvals(self) -> list[Approval]:
        """The questions nobody has answered, of all tasks; one that is not durable yet is not shown."""
        pending: list[Approval] = []
        for row in self._core.state.table.live():
            if self._core.asked.get(row.id, 0) <= self._confirmed:
                pending.extend(unshared(item) for item in intake.pending_approvals(self._core, row.id))
        return pending

    async def approve(self, task_id: str, *ids: str, by: str | None = None) -> None:
        """Say yes to questions of a task, by key; durable on return.

        Raises:
            UsageError: no key was given, or one the task has not asked.
        """
        if not ids:
            raise UsageError("approve without a key approves nothing", hint="name the keys from approvals()")
        await self._answer(task_id, ids, ApprovalStatus.APPROVED, by, "")

    async def deny(self, task_id: str, *ids: str, reason: str = "") -> None:
        """Say no to questions of a task, by key, or to all of them; durable on return."""
        self._core.state.row(task_id)  # raises for an unknown task
        keys = ids or tuple(item.key for item in intake.pending_approvals(self._core, task_id))
        await self._answer(task_id, keys, ApprovalStatus.DENIED, None, reason)

    async def _answer(
        self, task_id: str, keys: Sequence[str], status: ApprovalStatus, by: str | None, reason: str
    ) -> None:
        self._accepting()
        intake.answer(self._core, task_id, keys, status, by=by, reason=reason)
        await self._durable(self.commit_number)

    async def resume(self, task_id: str) -> None:
        """End a task's external wait; durable on return.

        Raises:
            UsageError: it waits for something else.
        """
        self._accepting()
        intake.resume(self._core, task_id)
        await self._durable(self.commit_number)

    async def cancel(self, task_id: str, reason: str = "") -> None:
        """End a task and its descendants, children first; what they were at is cancelled."""
        self._accepting()
        for ended in intake.cancel(self._core, task_id, reason):
            self._runner.cancel(ended)
        await self._durable(self.commit_number)

    async def extend(self, task_id: str, budget: SchedulerBudget) -> None:
        """Give a task other limits; one that its budget ended goes on.

        Raises:
            UsageError: it ended otherwise.
        """
        self._accepting()
        intake.extend(self._core, task_id, budget)
        await self._durable(self.commit_number)

    async def forget(self, task_id: str) -> None:
        """Drop a finished task and its descendants from the table.

        Raises:
            UsageError: one of them has not ended.
        """
        self._accepting()
        self._core.removal.forget(task_id)
        self._core.state.commit()
        await self._durable(self.commit_number)

    # waiting and looking

    async def join(self, task_id: str | None = None) -> Any:
        """Wait until a task has ended; its result, durable. Without an id: all roots, as a mapping.

        Raises:
            UnknownTaskError: no such task.
            SchedulerStopped: the kernel stopped first.
        """
        if task_id is not None:
            row = self._core.state.row(task_id)
            result = await self._ended(row, self._end_of(row))
            await self._durable(self.commit_number)
            return self._handed_out(row, result)
        ends: dict[str, tuple[Tcb, End]] = {}
        results: dict[str, LoopResult] = {}
        while roots := [row for row in self._core.state.table.children_of(None) if row.id not in ends]:
            ends.update((row.id, (row, self._end_of(row))) for row in roots)
            for row in roots:
                results[row.id] = await self._ended(*ends[row.id])
        await self._durable(self.commit_number)
        return {root: self._handed_out(ends[root][0], result) for root, result in results.items()}

    def _end_of(self, row: Tcb) -> End:
        """Where a task's result is or will be found, even if the task is forgotten meanwhile."""
        result = result_of(row)
        return self._ends.setdefault(row.id, End()) if result is None else End(result)

    async def _ended(self, row: Tcb, end: End) -> LoopResult:
        if end.result is None and not self._stopped.is_set():
            await end.event.wait()
        if end.result is None:
            raise SchedulerStopped(f"the kernel stopped before {row.id!r} ended") from self._failure
        return end.result

    def _handed_out(self, row: Tcb, result: LoopResult) -> LoopResult:
        result = unshared(result)
        if result.output is None or row.program not in self._core.programs:
            return result
        return replace(result, output=self._core.programs[row.program].output_of(result.output))

    async def idle(self) -> None:
        """Return when only events from outside can wake anything.

        Raises:
            SchedulerStopped: the kernel stopped first.
        """
        while self._core.active or self._core.ready or self._core.state.table.next_timer() is not None:
            if self._stopped.is_set():
                raise SchedulerStopped("the kernel stopped before it was idle") from self._failure
            await self._news()
        await self._durable(self.commit_number)

    @property
    def tasks(self) -> TaskTable:
        """The table as it is at any moment, to look at."""
        return TableView(self._core.state.table)

    def context(self, task_id: str) -> ContextView:
        """The context of a task as it is now.

        Raises:
            UnknownTaskError: no such task.
        """
        self._core.state.row(task_id)
        return ContextView(self._core.cell(task_id))

    @property
    def event_log(self) -> EventLog:
        """What rows and signals did since this process began, and what it amounts to (`view()`).

        Kept in memory only, and bounded; the processes of restored rows are in it.
        """
        return self._core.state.log

    def snapshot(self) -> KernelSnapshot:
        """The kernel's state at this instant."""
        return snapshot_of(self._core.state)

    @property
    def restored(self) -> RestoreReport | None:
        """What was restored on start; None for a new run."""
        return self._restored

    def events(self, task_id: str | None = None) -> AsyncIterator[KernelEvent]:
        """What happens from now on, to one task or to all; ends when the kernel stops.

        What a commit has made so comes once that commit is durable; troubles of the kernel do not wait.
        """
        return self._durably(self._core.events.listen(task_id))

    async def _durably(self, listener: Listener) -> AsyncIterator[KernelEvent]:
        with suppress(SchedulerStopped):
            async for event in listener:
                if event.commit > self._confirmed and not self._stopped.is_set():
                    self.start_soon(self._confirm, event.commit, listener.go_on)
                    async for trouble in listener.until_durable():
                        yield trouble
                if event.commit:
                    await self._durable(event.commit)
                yield event
