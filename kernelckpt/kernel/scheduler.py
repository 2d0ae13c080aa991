"""The async scheduler: what the outside does with a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from kernelckpt.abc import Clock, RuntimeHook
from kernelckpt.codec.record import unshared
from kernelckpt.errors import KernelCkptError, SchedulerStopped
from kernelckpt.kernel import answering, attention, intake, outside, phase
from kernelckpt.kernel.argument import check_name, kept, kept_reason, texts
from kernelckpt.kernel.calls.tool import Tool, Tools
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.kernel.governance.governance import Governance
from kernelckpt.kernel.milestone import MilestoneEvaluation
from kernelckpt.kernel.program import Program, ProgramFunction, Programs
from kernelckpt.kernel.redaction.redaction import Redaction
from kernelckpt.kernel.redaction.redactor import Redactor
from kernelckpt.kernel.settings import Settings
from kernelckpt.kernel.spawn import make_spawn
from kernelckpt.kernel.watched import Watched
from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.capability import CapabilityDescriptor
from kernelckpt.model.command import CommandOutcome, PostedCommand, SendSignal
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.governance import GovernancePolicy
from kernelckpt.model.message import Message
from kernelckpt.model.milestone import MilestoneCheckResult
from kernelckpt.model.process import AgentIsolation, AgentRole
from kernelckpt.model.rollback import RollbackReason
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.signal import Disposition, RuntimeSignal


class Scheduler(Watched):
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
        governance: GovernancePolicy | None = None,
        closures: Mapping[str, Any] | None = None,
        attention: str | None = None,
        signal_queue: int | None = None,
        context: ContextConfig = ContextConfig(),  # noqa: B008 - frozen
        auto_compact: bool = False,
        max_concurrency: int | None = None,
        keep_done: int | None = None,
        redaction: Redaction | None = None,
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
            governance: what agents may do. It is kept; a later start without it goes on with the kept one, a
                start with another replaces it.
            closures: the functions that the policy names as vetoes, and attention policies, by name; the
                names are kept, the functions are not.
            attention: the name of the signal router's policy among the closures; "" for the default one,
                None for the kept one.
            signal_queue: how many signals wait for a task at most; None for the kept number, or 64.
            context: when the contexts of new tasks are spooled, compressed and renewed.
            auto_compact: whether the kernel compresses contexts, before turns; else only `turn.compact` does.
            max_concurrency: how many turns may run at a time; None for no limit.
            keep_done: how many finished root tasks are kept, the newest; None for all of them.
            redaction: what is secret: it is taken out of whatever becomes state, and refused in ids, names
                and keys. What an earlier start without it has kept is not rewritten.
            clock: the source of time.

        Raises:
            UsageError: an argument is off.
        """
        check_name(run_id, "run_id")
        settings = Settings(
            run_id=run_id,
            budget=kept(budget, SchedulerBudget, "budget"),
            context=kept(context, ContextConfig, "context"),
            policy=None if governance is None else kept(governance, GovernancePolicy, "governance"),
            closures=dict(closures or {}),
            attention=attention,
            signal_queue=signal_queue,
            auto_compact=auto_compact,
            keep_done=keep_done,
            max_concurrency=max_concurrency,
            redaction=redaction,
        )
        settings.check()
        known_programs, known_tools = Programs(programs), Tools(tools)
        _refuse_secrets(settings, (*known_programs, *known_tools))
        if settings.policy is not None:
            Governance(settings.policy, settings.closures)  # raises for what it cannot do
        settings.attention_of(attention or "")
        super().__init__(
            known_programs, known_tools, settings, hooks=hooks, deps=deps, clock=clock or SystemClock()
        )

    # from this process

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
        run_spec: AgentRunSpec | None = None,
        capabilities: Sequence[CapabilityDescriptor] = (),
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
            run_spec: who it runs as and with what: its identity to governance, the filter of its
                capabilities, the milestones it must pass; goal, role and isolation may be said there.
            capabilities: what it may use, before that filter.

        Returns:
            The task's id.

        Raises:
            UnknownProgramError: no such program.
            TaskMismatchError: the id is taken by another program, input or run_spec.
            InvalidValueError: the input cannot be kept exactly.
            SchedulerStopped: the kernel is stopping.
        """
        with self._accepting():
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
                run_spec=run_spec,
                capabilities=capabilities,
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
        with self._accepting():
            intake.send(self._core, task_id, message, key)
        await self._durable(self.commit_number)

    async def signal(self, signal: RuntimeSignal, task_id: str | None = None) -> Disposition:
        """Route a signal; what was decided, durable on return.

        Args:
            signal: the signal.
            task_id: the task it is for; by default the first that waits for one, else the first root.
        """
        with self._accepting():
            disposition = attention.route(self._core, signal, task_id)
        await self._tell_of_signal(signal, task_id, disposition)
        return disposition

    async def _tell_of_signal(
        self, signal: RuntimeSignal, task_id: str | None, disposition: Disposition
    ) -> None:
        await self._durable(self.commit_number)
        self._core.events.emit("signal", task_id or "", disposition=disposition.value)
        await self._hooks.on_signal(self, signal)

    def approvals(self) -> list[Approval]:
        """The questions nobody has answered, of all tasks; one that is not durable yet is not shown."""
        pending: list[Approval] = []
        for row in self._core.state.table.live():
            if self._core.asked.get(row.id, 0) <= self._confirmed:
                pending.extend(unshared(item) for item in answering.pending_approvals(self._core, row.id))
        return pending

    async def approve(
        self, task_id: str, *ids: str, by: str | None = None, outcome: Any = msgspec.UNSET
    ) -> None:
        """Say yes to questions of a task, by key; durable on return.

        Args:
            task_id: the task.
            ids: the keys.
            by: who says so.
            outcome: for the question about one call: it is not made, for it is done and has returned this.

        Raises:
            UsageError: no key was given, or one the task has not asked.
            InvalidValueError: the outcome cannot be one of the call.
        """
        answering.check_named(ids)
        await self._answer(task_id, ids, ApprovalStatus.APPROVED, by=by, outcome=outcome)

    async def deny(self, task_id: str, *ids: str, reason: str = "") -> None:
        """Say no to questions of a task, by key, or to all of them; durable on return."""
        keys = ids or answering.pending_keys(self._core, task_id)
        await self._answer(task_id, keys, ApprovalStatus.DENIED, reason=reason)

    async def _answer(
        self,
        task_id: str,
        keys: Sequence[str],
        status: ApprovalStatus,
        *,
        by: str | None = None,
        reason: str = "",
        outcome: Any = msgspec.UNSET,
    ) -> None:
        with self._accepting():
            answering.answer(self._core, task_id, keys, status, by=by, reason=reason, outcome=outcome)
        await self._durable(self.commit_number)

    def evaluations(self) -> list[MilestoneEvaluation]:
        """The phases that tasks take for done and that are to be judged, of all tasks; durable ones only."""
        found = phase.evaluations(self._core.state)
        return [item for item in found if self._core.asked.get(item.task_id, 0) <= self._confirmed]

    async def judge(
        self, task_id: str, result: MilestoneCheckResult, *, evidence: Sequence[str] = ()
    ) -> None:
        """Say whether the phase is passed that a task takes for done; durable on return.

        Args:
            task_id: the task.
            result: the phase, whether it is passed, and why not.
            evidence: what was shown for it, for the event log.

        Raises:
            UsageError: the task takes no phase for done, or another one.
        """
        with self._accepting():
            result = kept(result, MilestoneCheckResult, "result")
            phase.judge(self._core, task_id, result, texts(evidence, "evidence"))
        self._core.state.commit()
        await self._durable(self.commit_number)

    async def rollback(self, task_id: str, reason: RollbackReason) -> None:
        """Undo what a task is at, as a timeout or an interrupting user does; durable on return.

        A turn at work is cut off and nothing it staged is kept; of a request, neither the reply nor a result
        joins the history. What really happened stays, calls cut off are in doubt. The task is told in a note
        and has its next turn.

        Args:
            task_id: the task.
            reason: why, as `TimedOut()`.

        Raises:
            UsageError: the task has ended, or waits for a human's word on something that may have happened.
        """
        with self._accepting():
            intake.roll_back(self._core, task_id, kept_reason(reason), self._runner.undo)
        await self._durable(self.commit_number)

    async def resume(self, task_id: str) -> None:
        """End a task's external wait; durable on return.

        Raises:
            UsageError: it waits for something else.
        """
        with self._accepting():
            intake.resume(self._core, task_id)
        await self._durable(self.commit_number)

    async def cancel(self, task_id: str, reason: str = "") -> None:
        """End a task and its descendants, children first; what they were at is cancelled."""
        with self._accepting():
            for ended in intake.cancel(self._core, task_id, reason):
                self._runner.cancel(ended)
        await self._durable(self.commit_number)

    async def extend(self, task_id: str, budget: SchedulerBudget) -> None:
        """Give a task other limits; one that its budget ended goes on.

        Raises:
            UsageError: it ended otherwise.
        """
        with self._accepting():
            intake.extend(self._core, task_id, budget)
        await self._durable(self.commit_number)

    async def forget(self, task_id: str) -> None:
        """Drop a finished task and its descendants from the table.

        Raises:
            UsageError: one of them has not ended.
        """
        with self._accepting():
            self._core.removal.forget(task_id)
        self._core.state.commit()
        await self._durable(self.commit_number)

    # from other processes, see `CommandHost`

    def take_command(self, posted: PostedCommand) -> CommandOutcome:
        """Do what another process has posted into the run's inbox; what came of it."""
        known = self._known_command(posted.id)
        if known is not None:
            return known
        outcome, ended = outside.take(self._core, posted)
        for task_id in ended:
            self._runner.cancel(task_id)
        command = posted.command
        self._tell_of_command(outcome, command.task_id or "", command.__struct_config__.tag)
        if isinstance(command, SendSignal) and outcome.applied:
            self.start_soon(self._signalled, command, Disposition(outcome.text))
        return outcome

    def refuse_command(self, command_id: str, error: KernelCkptError) -> CommandOutcome:
        """Record that what was posted under a command's id cannot be read."""
        known = self._known_command(command_id)
        if known is not None:
            return known
        outcome = outside.refuse(self._core, command_id, error)
        self._tell_of_command(outcome)
        return outcome

    def _known_command(self, command_id: str) -> CommandOutcome | None:
        if self._failure is not None or self._stopping.is_set():
            raise SchedulerStopped("the kernel takes no commands any more", hint="start it again")
        return outside.outcome_of(self._core, command_id)

    def _tell_of_command(self, outcome: CommandOutcome, task_id: str = "", kind: Any = "") -> None:
        facts = {name: getattr(outcome, name) for name in ("id", "applied", "text", "error")}
        task_id = self._core.redactor.text(task_id)  # it may be anything, and name no task
        self._core.events.emit("command", task_id, commit=self.commit_number, command=kind, **facts)

    async def _signalled(self, command: SendSignal, disposition: Disposition) -> None:
        with suppress(SchedulerStopped):
            await self._tell_of_signal(command.signal, command.task_id, disposition)

    def taken_commands(self) -> Sequence[str]:
        """The ids of the commands that may still lie in the inbox."""
        return [item.id for item in self._core.state.commands.values()]

    def forget_commands(self, command_ids: Sequence[str]) -> None:
        """Remember commands no longer that have been deleted from the inbox."""
        outside.forget(self._core, command_ids)


def _refuse_secrets(settings: Settings, names: Iterable[str]) -> None:
    """Raise `InvalidValueError` if a name that will be kept, or the policy, holds a secret."""
    redactor = Redactor(settings.redaction)
    for name, value in (("run_id", settings.run_id), ("attention", settings.attention), ("name", names)):
        redactor.refuse(value, name)
    if settings.policy is not None:
        redactor.admitted(settings.policy, "governance")
