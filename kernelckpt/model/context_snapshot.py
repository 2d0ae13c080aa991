"""A context as a snapshot shows it: its messages, and its plan both in the original's fields and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import field

from kernelckpt.model.context import Context, Handoff, Plan, PlanStep
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.json_form import convert_form, json_text, parse_json, place_of, undecodable
from kernelckpt.model.message import Message
from kernelckpt.model.record import Record
from kernelckpt.model.row_snapshot import null
from kernelckpt.model.scalar import U32


def _nothing() -> tuple[()]:
    return ()


class ContextSnapshot(Record, frozen=True, gc=False):
    """A context.

    Attributes:
        system_messages: identity and rules.
        knowledge_messages: retrievals and skill texts.
        task_goal: the plan's goal.
        task_plan: the plan's steps as compact JSON text; None when there are none.
        task_progress: the plan's progress.
        task_open_steps: labels of the steps that are not done.
        task_directives: the plan's directives.
        history_messages: the conversation.
        signals: lines of delivered signals and of the kernel that no turn has read yet.
        max_tokens: the context window.
        sprint: how often the context was renewed.
        plan: the whole goal/plan record; None in a snapshot of the original.
        system: the generation of the system messages.
        knowledge: the generation of the knowledge messages.
        history: the generation of the history.
        config: when it is spooled, compressed and renewed.
        last_handoff: what the last renewal carried over in words.
    """

    system_messages: tuple[Message, ...] = field(default_factory=_nothing)
    knowledge_messages: tuple[Message, ...] = field(default_factory=_nothing)
    task_goal: str | None = field(default_factory=null)
    task_plan: str | None = field(default_factory=null)
    task_progress: str | None = field(default_factory=null)
    task_open_steps: tuple[str, ...] = field(default_factory=_nothing)
    task_directives: tuple[str, ...] = field(default_factory=_nothing)
    history_messages: tuple[Message, ...] = field(default_factory=_nothing)
    signals: tuple[str, ...] = field(default_factory=_nothing)
    max_tokens: U32 = field(default_factory=int)
    sprint: U32 = field(default_factory=int)
    plan: Plan | None = None
    system: U32 = 0
    knowledge: U32 = 0
    history: U32 = 0
    config: ContextConfig = ContextConfig()
    last_handoff: Handoff | None = None

    @classmethod
    def from_context(
        cls,
        context: Context,
        *,
        system: Sequence[Message] = (),
        knowledge: Sequence[Message] = (),
        history: Sequence[Message] = (),
        signals: Sequence[str] = (),
    ) -> ContextSnapshot:
        """All of a context, with the messages of its three partitions and the lines of its task's inbox."""
        plan = context.plan
        return cls(
            system_messages=tuple(system),
            knowledge_messages=tuple(knowledge),
            task_goal=plan.goal,
            task_plan=_plan_text(plan),
            task_progress=plan.progress,
            task_open_steps=plan.open_steps,
            task_directives=plan.directives,
            history_messages=tuple(history),
            signals=tuple(signals),
            max_tokens=context.max_tokens,
            sprint=context.sprint,
            plan=plan,
            system=context.system,
            knowledge=context.knowledge,
            history=context.history,
            config=context.config,
            last_handoff=context.last_handoff,
        )

    def context(self, path: str = "context") -> Context:
        """The context that the snapshot was made from, without its messages.

        Raises:
            DecodeError: what it says of the plan does not fit together.
        """
        return Context(
            self.system,
            self.knowledge,
            self.history,
            self.whole_plan(path),
            self.max_tokens,
            self.sprint,
            self.config,
            self.last_handoff,
        )

    def whole_plan(self, path: str = "context") -> Plan:
        """The plan, or what the original's fields tell of it.

        Raises:
            DecodeError: the steps cannot be read, or two fields contradict each other.
        """
        told = Plan(
            goal=self.task_goal or "",
            plan=self._steps(place_of(path, "task_plan")),
            progress=self.task_progress or "",
            directives=self.task_directives,
        )
        if told.open_steps != self.task_open_steps:
            raise undecodable("not the open steps of task_plan", place_of(path, "task_open_steps"))
        for name in ("goal", "plan", "progress", "directives"):
            if self.plan is not None and getattr(self.plan, name) != getattr(told, name):
                raise undecodable("not the one of plan", place_of(path, f"task_{name}"))
        return told if self.plan is None else self.plan

    def _steps(self, path: str) -> tuple[PlanStep, ...]:
        if self.task_plan is None:
            return ()
        return convert_form(parse_json(self.task_plan, path), tuple[PlanStep, ...], path)


def _plan_text(plan: Plan) -> str | None:
    if not plan.plan:
        return None
    return json_text([{"label": step.label, "done": step.done} for step in plan.plan])


_MESSAGES = ("system_messages", "knowledge_messages", "history_messages")
_REQUIRED = (*_MESSAGES, "task_open_steps", "signals", "max_tokens", "sprint")


def write_context(form: dict[str, Any]) -> None:
    """Spell out what the original always writes in messages."""
    for name in _MESSAGES:
        form[name] = [write_message(message) for message in form[name]]


def write_message(form: dict[str, Any]) -> dict[str, Any]:
    """A message's form with everything that the original always writes, in its order."""
    whole: dict[str, Any] = {"role": form["role"], "content": "", **form}
    if not isinstance(whole["content"], str):
        whole["content"] = [
            {**part, "is_error": part.get("is_error", False)} if part["type"] == "tool_result" else part
            for part in whole["content"]
        ]
    if "tool_calls" in whole:
        whole["tool_calls"] = [
            {**call, "arguments": call.get("arguments", {})} for call in whole["tool_calls"]
        ]
    return whole


def read_context(form: Any, path: str) -> None:
    """Check that nothing is missing that the original requires.

    Raises:
        DecodeError: something is.
    """
    if not isinstance(form, dict):
        return
    _require(form, _REQUIRED, path)
    for name in _MESSAGES:
        if isinstance(form[name], list):
            for index, message in enumerate(form[name]):
                _require(message, ("role", "content"), f"{place_of(path, name)}[{index}]")


def _require(form: Any, names: Sequence[str], path: str) -> None:
    for name in names:
        if isinstance(form, dict) and name not in form:
            raise undecodable(f"missing required field `{name}`", place_of(path, name))
