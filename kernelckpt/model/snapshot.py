"""The kernel's state at one commit, as one record that can be looked at, written as JSON and read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import field

from kernelckpt.errors import InvalidValueError
from kernelckpt.model.approval import Approval
from kernelckpt.model.context_snapshot import ContextSnapshot, read_context, write_context, write_message
from kernelckpt.model.effect import Effect
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.json_form import convert_form, from_json_form, to_json_form, undecodable
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.os_snapshot import OsSnapshot, ProcessRecord
from kernelckpt.model.process import ProcessState
from kernelckpt.model.record import Record
from kernelckpt.model.row_snapshot import (
    ProcInfoSnapshot,
    ResultSnapshot,
    TcbSnapshot,
    null,
    read_row,
    restore_tcb,
    write_row,
)
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.scalar import U64
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.tcb import Tcb

__all__ = [
    "ContextSnapshot",
    "KernelSnapshot",
    "ProcInfoSnapshot",
    "ResultSnapshot",
    "TcbSnapshot",
    "restore_tcb",
]


class RowTable(Protocol):
    """Whatever gives all rows in order, as the task table does."""

    def all(self) -> Iterable[Tcb]:
        """Every row."""


class KernelSnapshot(Record, frozen=True):
    """The state at one commit.

    Attributes:
        turn: kernel turns so far.
        total_tokens: tokens spent by all tasks.
        tasks: every row, in order.
        context: the context of the first root.
        spec: what the run is to be, if that was said; `run_spec` in JSON.
        contexts: every task's context, by task.
        states: each program's encoded state, by task.
        inputs: each program's encoded input, by task.
        inbox: what was sent to a task and no turn has read yet, oldest first, by task.
        approvals: questions to a human, by task.
        effects: the ledger of calls, in order, by task.
        queued_signals: signals that no task has taken yet, in the order in which they came.
        totals: all totals, with the working clock.
        os_view: the replayed view of the event log.
    """

    turn: U64
    total_tokens: U64
    tasks: tuple[TcbSnapshot, ...]
    context: ContextSnapshot
    spec: AgentRunSpec | None = field(default_factory=null, name="run_spec")
    contexts: dict[str, ContextSnapshot] = field(default_factory=dict)
    states: dict[str, Value] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)
    inbox: dict[str, tuple[InboxEntry, ...]] = field(default_factory=dict)
    approvals: dict[str, tuple[Approval, ...]] = field(default_factory=dict)
    effects: dict[str, tuple[Effect, ...]] = field(default_factory=dict)
    queued_signals: tuple[QueuedSignal, ...] = ()
    totals: KernelTotals | None = None
    os_view: OsSnapshot | None = None

    @classmethod
    def from_state(
        cls,
        turn: int,
        total_tokens: int,
        tasks: RowTable | Iterable[Tcb],
        context: ContextSnapshot,
        run_spec: AgentRunSpec | None = None,
        *,
        contexts: Mapping[str, ContextSnapshot] | None = None,
        states: Mapping[str, Value] | None = None,
        inputs: Mapping[str, Value] | None = None,
        inbox: Mapping[str, tuple[InboxEntry, ...]] | None = None,
        approvals: Mapping[str, tuple[Approval, ...]] | None = None,
        effects: Mapping[str, tuple[Effect, ...]] | None = None,
        queued_signals: Iterable[QueuedSignal] = (),
        totals: KernelTotals | None = None,
        os_view: OsSnapshot | None = None,
    ) -> KernelSnapshot:
        """The snapshot of these parts; `tasks` is a table, or rows in order."""
        rows = tasks if isinstance(tasks, Iterable) else tasks.all()
        return cls(
            turn,
            total_tokens,
            tuple(TcbSnapshot.from_tcb(row) for row in rows),
            context,
            run_spec,
            dict(contexts or {}),
            dict(states or {}),
            dict(inputs or {}),
            dict(inbox or {}),
            dict(approvals or {}),
            dict(effects or {}),
            tuple(queued_signals),
            totals,
            os_view,
        )

    def run_spec(self) -> AgentRunSpec | None:
        """What the run is to be, if that was said."""
        return self.spec

    def to_os_process_records(self) -> list[ProcessRecord]:
        """A record for each child: its own turns, and the label of its row's state."""
        return [
            ProcessRecord(row.turns, row.id, row.proc.parent_session_id, row.state.label())
            for row in self.tasks
            if row.proc is not None
        ]

    def to_mapped_process_records(self) -> list[ProcessRecord]:
        """The same as a replay of the event log gives it.

        The turn is the kernel's at the last change; the state is running, joined or failed.
        """
        return [
            ProcessRecord(
                row.changed_turn, row.id, row.proc.parent_session_id, ProcessState.of(row.state).value
            )
            for row in self.tasks
            if row.proc is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as JSON data, in the original's shape and order, what the original lacks behind it.

        Raises:
            InvalidValueError: it holds something that JSON cannot; the path names it.
        """
        try:
            form = msgspec.to_builtins(self, builtin_types=(bytes,))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidValueError(f"snapshot: {error}", hint="keep plain data in results") from error
        for row in form["tasks"]:
            write_row(row)
            _write_final_message(row["proc"])
        for context in (form["context"], *form.get("contexts", {}).values()):
            write_context(context)
        whole: dict[str, Any] = to_json_form(form)
        return whole

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KernelSnapshot:
        """The snapshot that `to_dict` gave, or one of the original; read strictly.

        Raises:
            DecodeError: a value of the wrong type or out of range, an unknown label or field, a field
                missing, or fields that contradict each other; the path is like `tasks[2].state`.
        """
        form = from_json_form(data)
        if not isinstance(form, dict):
            raise undecodable("not an object", "")
        _each(form.get("tasks"), read_row)
        read_context(form.get("context"), "context")
        form["run_spec"] = _spec_form(form.get("run_spec"))
        for name, type_ in _BY_TASK.items():
            if isinstance(form.get(name), dict):
                form[name] = _by_task(form[name], name, type_)
        snapshot = convert_form(form, cls)
        snapshot.context.whole_plan("context")
        for task_id, context in snapshot.contexts.items():
            context.whole_plan(_path_of("contexts", task_id))
        return snapshot

    def to_json(self) -> str:
        """`to_dict` as compact JSON text.

        Raises:
            InvalidValueError: it holds something that JSON cannot; the path names it.
        """
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> KernelSnapshot:
        """The snapshot of a JSON text, read as strictly as by `from_dict`.

        Raises:
            DecodeError: as for `from_dict`; or not JSON, or with a key that occurs twice.
        """
        return cls.from_dict(_loads(text, ""))


_BY_TASK: dict[str, Any] = {
    "contexts": ContextSnapshot,
    "states": Value,
    "inputs": Value,
    "inbox": tuple[InboxEntry, ...],
    "approvals": tuple[Approval, ...],
    "effects": tuple[Effect, ...],
}


def _each(forms: Any, read: Callable[[Any, str], None]) -> None:
    if isinstance(forms, list):
        for index, form in enumerate(forms):
            read(form, f"tasks[{index}]")


def _by_task(forms: dict[str, Any], name: str, type_: Any) -> dict[str, Any]:
    """Converted one by one, since only so an error can name the task."""
    converted = {}
    for task_id, form in forms.items():
        path = _path_of(name, task_id)
        if type_ is ContextSnapshot:
            read_context(form, path)
        converted[task_id] = convert_form(form, type_, path)
    return converted


def _path_of(name: str, task_id: str) -> str:
    return f'{name}["{task_id}"]'


def _write_final_message(proc: dict[str, Any] | None) -> None:
    result = proc["result"] if proc else None
    if result and "final_message" in result:
        result["final_message"] = write_message(result["final_message"])


def _spec_form(form: Any) -> Any:
    """The original writes the specification as JSON text within the JSON."""
    return from_json_form(_loads(form, "run_spec")) if isinstance(form, str) else form


def _loads(text: str | bytes, path: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"a key occurs twice among {sorted(key for key, _ in pairs)}")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise undecodable(str(error), path) from error
