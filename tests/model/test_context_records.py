"""Messages, plans, inbox entries and signals."""

from __future__ import annotations

import msgspec
import pytest

from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.context import MAX_DIRECTIVES, Plan, PlanStep
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.inbox import InboxEntry, lines_of
from kernelckpt.model.message import Audio, Message, Role, Text, ToolCall, ToolResultPart
from kernelckpt.model.signal import RuntimeSignal, SignalSource, SignalType, Urgency


def test_messages_by_role():
    assert [Message.system("a").role, Message.user("a").role] == [Role.SYSTEM, Role.USER]
    asking = Message.assistant("a", [ToolCall("c", "t")])
    assert (asking.tool_calls[0].arguments, asking.token_count) == ({}, None)
    assert Message.tool_result("c", "out", is_error=True).content == (ToolResultPart("c", "out", True),)


def test_the_text_of_parts():
    message = Message.user_multimodal([Text("a"), Audio("AA==", "audio/wav"), ToolResultPart("c", "b")])
    assert message.text == "a\nb"
    assert Message.user("plain").text == "plain"


@pytest.mark.parametrize("data", [b'{"role":"boss"}', b'{"role":"user","content":[{"type":"smell"}]}'])
def test_unknown_labels_fail_the_read(data):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=Message)


def test_open_steps_exclude_done():
    plan = Plan(plan=(PlanStep("a", done=True), PlanStep("b"), PlanStep("c")))
    assert plan.open_steps == ("b", "c")


def test_directives_are_bounded_and_a_repeated_one_moves():
    plan = Plan()
    for number in range(MAX_DIRECTIVES + 2):
        plan = plan.with_directive(f" d{number} ")
    assert plan.directives == tuple(f"d{number}" for number in range(2, MAX_DIRECTIVES + 2))
    assert plan.with_directive("d5").directives[-1] == "d5"
    assert len(plan.with_directive("d5").directives) == MAX_DIRECTIVES
    assert plan.with_directive("  ") is plan


def test_an_inbox_entry_holds_one_thing():
    signal = RuntimeSignal(SignalSource.CRON, SignalType.JOB, Urgency.LOW, "tick")
    assert InboxEntry(signal=signal).message is None
    for several in ((), (Message.user("x"), signal), (None, signal, "note")):
        with pytest.raises(ValueError, match="one of them only"):
            InboxEntry(*several)
    with pytest.raises(ValueError, match="only a signal interrupts"):
        InboxEntry(note="x", interrupts=True)


def test_an_agent_is_told_of_signals_and_notes_in_words_in_the_order_in_which_they_came():
    signal = RuntimeSignal(SignalSource.CRON, SignalType.JOB, Urgency.LOW, "tick")
    inbox = {
        7: InboxEntry(note="[ROLLBACK] x"),
        2: InboxEntry(signal=signal),
        3: InboxEntry(Message.user("no line")),
        5: InboxEntry(signal=signal, interrupts=True),
    }
    assert lines_of(inbox) == ("[SIGNAL] tick", "[INTERRUPT] tick", "[ROLLBACK] x")


def test_signals_get_an_id_of_their_own():
    first, second = (RuntimeSignal(SignalSource.CRON, SignalType.JOB, Urgency.LOW, "") for _ in range(2))
    assert first.id != second.id
    assert [urgency.rank for urgency in Urgency] == [0, 1, 2, 3]


def test_an_approval_is_pending_until_answered():
    asked = Approval("t", "k")
    assert asked.pending
    assert not asked.approved
    assert msgspec.structs.replace(asked, status=ApprovalStatus.APPROVED).approved


def test_an_effect_is_decided_once_its_outcome_is_known():
    effect = Effect("pay", b"d", 1)
    assert not effect.decided
    assert msgspec.structs.replace(effect, status=EffectStatus.RAISED).decided


@pytest.mark.parametrize("ratio", [float("nan"), float("inf"), -0.1])
def test_a_ratio_is_a_number_of_0_or_more(ratio):
    with pytest.raises(ValueError, match="carryover_ratio"):
        ContextConfig(carryover_ratio=ratio)
    assert ContextConfig(carryover_ratio=0.0).carryover_ratio == 0
