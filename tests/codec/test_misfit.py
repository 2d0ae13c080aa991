"""What errors say of data that do not fit: the place and the kind of fault, never what is there."""

import enum
import traceback
from functools import partial
from typing import Literal

import msgspec
import pydantic
import pytest

from kernelckpt import (
    ContextSnapshot,
    KernelSnapshot,
    Message,
    Program,
    Scheduler,
    SchedulerBudget,
    Tcb,
    TcbSnapshot,
)
from kernelckpt.codec.plain import check_plain
from kernelckpt.codec.record import decode_message, decode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import DecodeError, KernelCkptError
from kernelckpt.kernel.argument import check_amount, kept, milliseconds
from kernelckpt.kernel.calls.tool import as_tool
from kernelckpt.kernel.governance.policy_form import policy_from_dict

SECRET = "sk-live-0123456789"


class Mode(enum.Enum):
    FAST = "fast"


class Choice(msgspec.Struct, frozen=True):
    mode: Mode


class Model(pydantic.BaseModel):
    number: int
    mode: Literal["fast"] = "fast"


def snapshot_with(**fields):
    """A snapshot of one row as plain data, with these fields of the row."""
    row = TcbSnapshot.from_tcb(Tcb.root("t", SchedulerBudget()))
    form = KernelSnapshot(
        turn=0, total_tokens=0, tasks=(row,), context=ContextSnapshot(), spec=None
    ).to_dict()
    form["tasks"][0].update(fields)
    return form


def packed(value):
    return msgspec.msgpack.encode(value)


CASES = {
    "label": (
        lambda: ValueCodec(Choice).decode(packed({"mode": SECRET}), "state"),
        "state.mode: Invalid enum value",
    ),
    "tag": (lambda: decode_message(packed({"role": "user", "content": [{"type": SECRET}]})), "content"),
    "record": (
        lambda: decode_record(("task", "t", 0), packed({"id": "t", "state": {"kind": SECRET}})),
        "kind",
    ),
    "pydantic": (
        lambda: ValueCodec(Model).decode(packed({"number": SECRET}), "state"),
        "state: number: int_parsing",
    ),
    "pydantic label": (
        lambda: ValueCodec(Model).decode(packed({"number": 1, "mode": SECRET}), "s"),
        "mode: literal_error",
    ),
    "plain key": (lambda: check_plain({SECRET.encode(): 1}, "input"), "a key is a bytes, not text"),
    "large number": (
        lambda: check_plain({"n": 4111 << 64}, "input"),
        "input.n: a whole number that does not fit",
    ),
    "argument": (lambda: kept(Message(SECRET), Message, "message"), "message.role: Invalid enum value"),
    "seconds": (lambda: milliseconds(SECRET, "seconds"), "seconds: a str"),
    "amount": (lambda: check_amount([SECRET], "tokens", 0), "tokens: a list"),
    "a call": (lambda: as_tool(SECRET), "a str cannot be called"),
    "a call without a name": (lambda: as_tool(partial(print, SECRET)), "a partial has no name"),
    "a program": (lambda: Program(partial(print, SECRET)), "a partial"),
    "a hook": (lambda: Scheduler({}, run_id="r", hooks=[SECRET]), "a str is not a hook"),
    "a policy": (lambda: policy_from_dict({"rules": [{"tool_pattern": "x", "action": SECRET}]}), "action"),
    "a snapshot's state": (lambda: KernelSnapshot.from_dict(snapshot_with(state=SECRET)), "it is no state"),
    "a snapshot's label": (
        lambda: KernelSnapshot.from_dict(snapshot_with(wait_reason=SECRET)),
        "wait_reason",
    ),
    "a snapshot's note": (
        lambda: KernelSnapshot.from_dict(snapshot_with(wait_note=SECRET)),
        "a wait_note without",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_errors_name_the_place_and_not_the_value(name):
    act, text = CASES[name]
    with pytest.raises(KernelCkptError) as caught:
        act()
    shown = "".join(traceback.format_exception(caught.value))
    assert text in str(caught.value)
    assert SECRET not in shown
    assert "4111" not in str(caught.value)


def test_a_label_of_our_own_types_is_named_and_one_of_a_users_type_is_not():
    with pytest.raises(DecodeError, match="Invalid enum value 'boredom'"):
        decode_record(("task", "t", 0), packed({"id": "t", "state": {"kind": "boredom"}}))
    with pytest.raises(DecodeError, match=r"Invalid enum value$"):
        ValueCodec(Choice).decode(packed({"mode": "boredom"}), "state")
