"""What a turn has staged, and how it becomes one commit over the records as they are by then."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.errors import TaskMismatchError
from kernelckpt.kernel import attention, ending
from kernelckpt.kernel.core import MESSAGE, Core
from kernelckpt.model.approval import Approval
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.context import Context, Plan
from kernelckpt.model.effect import Effect, EffectPolicy
from kernelckpt.model.kernel import Value
from kernelckpt.model.message import Message
from kernelckpt.model.process import AgentIsolation, AgentRole, ProcInfo, inheritance_of
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

_PLAIN = msgspec.msgpack.Decoder()


class Spawn(msgspec.Struct, frozen=True):
    """A task to be: what `submit` and `turn.spawn` ask for, encoded already."""

    task_id: str
    program: str
    goal: str
    input: bytes | None
    role: AgentRole
    isolation: AgentIsolation
    budget: SchedulerBudget | None
    caps: tuple[str, ...]
    messages: tuple[bytes, ...]


class Staged:
    """The operations of one turn, in order; nothing of it is state until `commit_turn`."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.value: Value | None = None
        self.plan: list[Callable[[Plan], Plan]] = []
        self.spawns: dict[str, Spawn] = {}
        self.read: set[int] = set()
        self.effects = 0

    @property
    def empty(self) -> bool:
        """Whether the turn has done nothing that a commit would keep or that cannot be repeated."""
        nothing = not (self.messages or self.plan or self.spawns or self.read)
        return nothing and self.value is None and not self.effects


def commit_turn(core: Core, task_id: str, staged: Staged, what_next: ending.Next) -> None:
    """Apply a turn in one commit.

    Raises:
        TaskMismatchError: a spawned id was taken meanwhile; nothing was changed.
        UnknownTaskError: a child to be joined was forgotten meanwhile; nothing was changed.
    """
    _refuse_lost(core, staged, what_next)
    row = core.state.row(task_id)
    core.touch_totals(turns=1)
    budget = replace(row.budget, turns=row.budget.turns + 1)
    row = replace(row, budget=budget, attempt=0, spawned=row.spawned + len(staged.spawns), joined=())
    _drop_consumed(core, task_id, staged)
    _apply(core, task_id, staged)
    for spawn in staged.spawns.values():
        put_new_task(core, spawn, parent=row)
    if not isinstance(what_next, ending.Complete | ending.Fail):
        attention.take_at_turn_end(core, row, waits=isinstance(what_next, ending.WaitSignal))
    _apply_ending(core, row, what_next)
    after = core.state.row(task_id)
    core.tell("committed", task_id, budget.turns, kernel_turn=core.state.totals.turn)
    if after.wait is not None:
        core.tell("waiting", task_id, budget.turns, wait=after.wait.label(), note=after.wait.note)
    core.state.commit(ended_turn=True, waits=after.wait is not None)


def _refuse_lost(core: Core, staged: Staged, what_next: ending.Next) -> None:
    """Refuse what the outside has made impossible since it was staged, before anything is changed."""
    for child in staged.spawns:
        if child in core.state.table:
            raise TaskMismatchError(f"task {child!r} exists already", hint="spawn under another task_id")
    for child in what_next.children if isinstance(what_next, ending.Join) else ():
        if child not in staged.spawns:
            core.state.row(child)


def _drop_consumed(core: Core, task_id: str, staged: Staged) -> None:
    for number in sorted(staged.read):
        core.state.remove(("inbox", task_id, number))
    for number in list(core.cell(task_id).effects):
        core.state.remove(("effect", task_id, number))


def _apply(core: Core, task_id: str, staged: Staged) -> None:
    if staged.value is not None:
        core.state.put(("state", task_id, 0), staged.value)
    if staged.plan:
        context = core.cell(task_id).context
        plan = context.plan
        for change in staged.plan:
            plan = change(plan)
        core.state.put(("context", task_id, 0), replace(context, plan=plan))
    for kind in ("system", "knowledge", "history"):
        core.state.append(task_id, kind, [data for where, data in staged.messages if where == kind])


def put_new_task(core: Core, spawn: Spawn, parent: Tcb | None) -> None:
    """Add a task's records; it is ready to run."""
    budget = spawn.budget or core.budget
    if parent is None:
        row = Tcb.root(spawn.task_id, budget)
    else:
        proc = ProcInfo(parent.id, spawn.role, spawn.isolation, inheritance_of(spawn.role))
        row = Tcb.spawned_child(spawn.task_id, parent.id, proc, budget)
        row = replace(row, changed_turn=core.state.totals.turn)
    version = core.programs[spawn.program].version
    row = replace(row, program=spawn.program, version=version, goal=spawn.goal, caps=spawn.caps)
    core.state.put_row(row)
    if spawn.input is not None:
        core.state.put(("input", spawn.task_id, 0), Value(spawn.input, version))
    context = context_of(spawn.goal, budget)
    if context != Context():
        core.state.put(("context", spawn.task_id, 0), context)
    core.state.append(spawn.task_id, "history", spawn.messages)
    if parent is None:
        core.live_roots[spawn.task_id] = None
    core.push(spawn.task_id)
    core.tell("started", spawn.task_id, 0, program=spawn.program)


def context_of(goal: str, budget: SchedulerBudget) -> Context:
    """A fresh context for a goal."""
    return Context(plan=Plan(goal), max_tokens=budget.max_tokens)


def _apply_ending(core: Core, row: Tcb, what_next: ending.Next) -> None:
    match what_next:
        case ending.Complete(text=text, output=output):
            plain = None if output is None else _PLAIN.decode(output)
            core.end(row, TerminationReason.COMPLETED, text=text, output=plain)
        case ending.Fail(text=text):
            core.end(row, TerminationReason.ERROR, error=text)
        case ending.Join(children=children):
            _join(core, row, children)
        case ending.Ask(approval=approval):
            _ask(core, row, approval)
        case ending.Request(reply=reply):
            _request(core, row, reply)
        case _:
            _wait(core, row, what_next)


def _wait(core: Core, row: Tcb, what_next: ending.Next) -> None:
    inbox = core.cell(row.id).inbox.values()
    match what_next:
        case ending.Sleep(until_ms=until_ms):
            core.state.put_row(replace(row, state=TaskState.READY, wait=None, deferred_until=until_ms))
            core.on_timer()
        case ending.WaitMessage() if not any(entry.message for entry in inbox):
            _suspend(core, row, WaitReason.external(MESSAGE))
        case ending.WaitSignal() if not any(entry.signal for entry in inbox):
            _suspend(core, row, WaitReason.signal())
        case ending.WaitExternal(reason=reason):
            _suspend(core, row, WaitReason.external(reason))
        case _:
            core.wake(row)


def _suspend(core: Core, row: Tcb, wait: WaitReason, until_ms: int | None = None) -> None:
    core.state.put_row(replace(row, state=TaskState.SUSPENDED, wait=wait, deferred_until=until_ms))
    if wait.kind is WaitKind.SIGNAL:
        core.signal_waiters[row.id] = None
    if until_ms is not None:
        core.on_timer()


def _join(core: Core, row: Tcb, children: tuple[str, ...]) -> None:
    row = replace(row, joined=children)
    if not core.joining.begin(row, children):
        core.wake(row)


def _ask(core: Core, row: Tcb, approval: Approval) -> None:
    cell = core.cell(row.id)
    for item in cell.approvals.values():
        if item.key == approval.key and not item.pending:
            core.wake(row)
            return
    core.state.put(("approval", row.id, cell.take_number()), approval)
    core.asked[row.id] = core.state.number + 1
    core.on_ask()
    _suspend(core, row, WaitReason.approval(), approval.expires_at_ms)


def _request(core: Core, row: Tcb, reply: Message) -> None:
    cell = core.cell(row.id)
    core.state.append(row.id, "history", [encode_record(reply)])
    for call in reply.tool_calls:
        core.state.put(
            ("effect", row.id, cell.take_number()), planned_call(core, call.id, call.name, call.arguments)
        )
    core.wake(row)


def planned_call(core: Core, call_id: str, name: str, arguments: Any) -> Effect:
    """The ledger entry of a tool call that the kernel is to make."""
    tools = core.tools
    policy = tools.find(name).effect if name in tools else EffectPolicy.ASK
    data = msgspec.msgpack.encode(arguments)
    return Effect(name, argument_digest(data), policy=policy, call_id=call_id, arguments=data)


def argument_digest(data: bytes) -> bytes:
    """What tells one call's arguments from another's."""
    return blake2b(data, digest_size=16).digest()
