"""A state of sound records that cannot be gone on from is refused by name, not met half-way through."""

import pytest
from msgspec.structs import replace
from seeds import read_golden, snapshot_from
from target_kernel import going_on

from kernelckpt.codec.record import decode_record, encode_record
from kernelckpt.errors import RestoreError
from kernelckpt.kernel.snapshot import SnapshotRecords
from kernelckpt.model.effect import EffectStatus
from kernelckpt.model.task_state import TaskState

CALL = ("effect", "lead", 2)
QUESTION = ("approval", "lead", 3)


@pytest.fixture
async def records():
    """The records of the golden run of a kernel, whose task `lead` waits for a word about a call."""
    run = [run for run in await read_golden() if run.run_id == "life"][-1]
    assert {CALL, QUESTION} <= run.records.keys()
    return SnapshotRecords(dict(run.records), {key: tuple(items) for key, items in run.streams.items()})


def changed(records, key, /, **fields):
    """The state with one record changed."""
    record = replace(decode_record(key, records.records[key]), **fields)
    return SnapshotRecords(records.records | {key: encode_record(record)}, records.streams)


async def refused(state):
    with pytest.raises(RestoreError) as caught:
        await going_on(snapshot_from(state))
    assert caught.value.hint
    (missing,) = caught.value.missing
    return missing


async def test_the_golden_state_goes_on(records):
    snapshot = await going_on(snapshot_from(records))
    assert {row.id for row in snapshot.tasks} >= {"lead", "builder", "listener", "asker"}


UNREADABLE = [b"\xc1", b"", b"\xd4\x05a", b"\x01\x02", b"\xa3\xff\xff\xff", b"\x91" * 3000]
KEYS = ["effect:", "effect:x", "effect:7.1.1", "effect:\u0662.2.0", "effect:" + "9" * 5000]


@pytest.mark.parametrize("data", UNREADABLE, ids=lambda data: data[:6].hex())
async def test_a_call_whose_arguments_cannot_be_read(records, data):
    assert "can be read of call 'pay' of task 'lead'" in await refused(changed(records, CALL, arguments=data))


@pytest.mark.parametrize("data", [b"\xc1", b"", b"\xd4\x05a"])
async def test_a_call_whose_outcome_cannot_be_read(records, data):
    state = changed(records, CALL, status=EffectStatus.RETURNED, outcome=data)
    assert "(outcome: " in await refused(state)


@pytest.mark.parametrize("data", [b"\x01", b"\x93\x90\x80\x80", b"\x92\x80\x80", b"\x92\x90\x90"])
async def test_a_call_of_a_program_whose_arguments_are_not_its_arguments(records, data):
    state = changed(records, CALL, call_id="", arguments=data)
    assert "not [positional, named]" in await refused(state)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key)[:20])
async def test_a_question_about_a_call_that_is_not_there(records, key):
    assert "the call that the question" in await refused(changed(records, QUESTION, key=key))


async def test_a_question_about_a_phase_that_is_not_there(records):
    state = changed(records, QUESTION, key="milestone:draft.1")
    assert "the phase that task 'lead' asks about" in await refused(state)


async def test_a_phase_whose_output_cannot_be_read(records):
    state = changed(records, ("milestone", "builder", 0), output=b"\xc1")
    assert "an output of task 'builder'" in await refused(state)


async def test_a_task_that_does_not_wait_for_its_open_request(records):
    state = changed(records, ("task", "lead", 0), state=TaskState.READY, wait=None)
    assert "the wait of task 'lead' for the calls of its reply" in await refused(state)
