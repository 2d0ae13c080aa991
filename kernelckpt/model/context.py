"""What an agent knows: partitions of messages, and the goal/plan record."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64

MAX_DIRECTIVES = 8
"""How many directives a plan keeps; the oldest give way."""


class PlanStep(Record, frozen=True, gc=False):
    """One step of a plan."""

    label: str
    done: bool = False


class CompressionNote(Record, frozen=True, gc=False):
    """What a compression did, in words: the only trace of what it removed."""

    action: str
    summary: str


class Plan(Record, frozen=True, gc=False):
    """The goal/plan record (the original's "task state").

    Attributes:
        goal: what is to be done.
        criteria: when it is done.
        plan: the steps.
        current_step: index of the step being worked on.
        progress: where it stands, in words.
        scratchpad: notes of the agent to itself.
        blocked_on: what stands in the way.
        directives: standing instructions, newest last, at most 8.
        preserved_refs: call ids whose results must not be compressed.
        compression_log: what compressions did.
    """

    goal: str = ""
    criteria: tuple[str, ...] = ()
    plan: tuple[PlanStep, ...] = ()
    current_step: U32 | None = None
    progress: str = ""
    scratchpad: str = ""
    blocked_on: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    preserved_refs: tuple[str, ...] = ()
    compression_log: tuple[CompressionNote, ...] = ()

    @property
    def open_steps(self) -> tuple[str, ...]:
        """Labels of the steps that are not done, in order."""
        return tuple(step.label for step in self.plan if not step.done)

    def with_directive(self, text: str) -> Plan:
        """The record with a directive as its newest; blank ones change nothing, a repeated one moves."""
        text = text.strip()
        if not text:
            return self
        kept = (*(old for old in self.directives if old != text), text)
        return replace(self, directives=kept[-MAX_DIRECTIVES:])


class Handoff(Record, frozen=True, gc=False):
    """What a renewal told the next sprint of the one before.

    Attributes:
        goal: the goal.
        sprint: the sprint that ended.
        progress: where it stood.
        open_steps: labels of the steps that were not done.
        blocked_on: what stood in the way.
        history_len: messages in the history before.
        carried_len: messages carried over.
    """

    goal: str
    sprint: U32
    progress: str = ""
    open_steps: tuple[str, ...] = ()
    blocked_on: tuple[str, ...] = ()
    history_len: U32 = 0
    carried_len: U32 = 0


class ContextMeter(Record, frozen=True, gc=False):
    """What was measured of a context; kept apart, for it changes more often than the rest.

    Attributes:
        observed_tokens: prompt tokens as the provider counted them last; None since the last compression.
        last_activity_ms: wall time of the last reply with tool calls; 0 for none.
        last_compact_ms: wall time of the last compression for idleness; None for none.
    """

    observed_tokens: U32 | None = None
    last_activity_ms: U64 = 0
    last_compact_ms: U64 | None = None


class Context(Record, frozen=True, gc=False):
    """An agent's context, without its messages: those lie in streams, one for each partition.

    Attributes:
        system: the generation of the stream of identity and rules.
        knowledge: the generation of the stream of retrievals and skill texts.
        history: the generation of the stream of the conversation; rewriting it starts the next one.
        plan: the goal/plan record.
        max_tokens: the context window.
        sprint: how often the context was renewed.
        config: when it is spooled, compressed and renewed.
        last_handoff: what the last renewal carried over in words.
    """

    system: U32 = 0
    knowledge: U32 = 0
    history: U32 = 0
    plan: Plan = Plan()
    max_tokens: U32 = 128_000
    sprint: U32 = 0
    config: ContextConfig = ContextConfig()
    last_handoff: Handoff | None = None
