"""What made other loaders run code is plain data here, or refused; nothing is done that it says."""

import json

import msgpack
import pytest
from payload import MARK, is_plain, payloads, places, plain_of, state_with, write_payloads
from seeds import snapshot_from
from test_hostile_audit import watched

from kernelckpt import KernelSnapshot
from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import DecodeError
from kernelckpt.model.json_form import to_json_form

PLACES = places()
OPAQUE = ("the state", "the input", "what a call gave", "what a call was given")
"""Kept as bytes, which only the code that declares a type for them decodes."""


@pytest.fixture
def canary(tmp_path):
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("place", PLACES)
def test_a_payload_is_refused_or_stays_the_data_it_is(canary, place):
    for name, payload in payloads(canary).items():
        state = state_with(PLACES[place], payload)
        if not is_plain(payload) and place not in OPAQUE:
            with pytest.raises(DecodeError, match=r"ext type|malformed"):
                snapshot_from(state)
            continue
        snapshot = snapshot_from(state)
        expected = payload if place in OPAQUE else plain_of(payload)
        form = json.dumps(to_json_form(expected))[1:-1]
        assert form in json.dumps(snapshot.to_dict()), name
        assert KernelSnapshot.from_json(snapshot.to_json()) == snapshot


def test_a_program_reads_plain_data_or_an_error(canary):
    for payload in payloads(canary).values():
        if not is_plain(payload):
            with pytest.raises(DecodeError, match=r"ext type|malformed"):
                ValueCodec().decode(payload, "state")
        else:
            assert ValueCodec().decode(payload, "state") == plain_of(payload)


def test_a_marker_in_json_is_no_object(canary):
    """Only a whole dict of one key `$bytes` stands for anything, and that is bytes."""
    for name, payload in payloads(canary).items():
        if not is_plain(payload):
            continue
        form = snapshot_from(state_with(PLACES["what a human decides upon"], payload)).to_dict()
        text = json.dumps(form)
        again = KernelSnapshot.from_json(text)
        found = again.approvals["agent"][1].payload
        assert found == [plain_of(payload)], name


@pytest.mark.may_block
async def test_whole_runs_of_payloads_are_read_and_started_without_doing_anything(tmp_path, canary):
    written = await write_payloads(tmp_path / "state", canary)
    found = watched(tmp_path / "state", "--payloads")
    assert found["seen"] == []
    told = json.loads(found["told"])
    assert told.keys() == written.keys()
    for run, (place, name) in written.items():
        assert (told[run][0], told[run][2]) == expected(place, is_plain(payloads(canary)[name])), run


def expected(place, is_plain):
    """What loading the run and starting a kernel from it come to."""
    if place == "what a call was given":  # none of the payloads is [positional, named]
        return "done", "RestoreError"
    if is_plain:
        return "done", "done"
    if place in OPAQUE:
        return "done", "RestoreError"
    return "DecodeError", "done" if place == "a call in the history" else "DecodeError"  # read by the program


def test_the_payloads_are_what_they_stand_for(tmp_path):
    """A loader that believes them makes the canary."""
    canary = tmp_path / "believed"
    found = payloads(canary)

    def call(module, name, arguments):
        getattr(__import__(module), name)(*arguments)

    def hook(_code, data):
        module, name, path = msgpack.unpackb(data)
        call(module, name, [path])

    msgpack.unpackb(found["an ext 1 that names a call"], ext_hook=hook)
    assert canary.is_dir()
    canary.rmdir()
    marker = plain_of(found["a constructor"])
    call(*marker["id"], marker["args"])
    assert canary.is_dir()
    canary.rmdir()
    __import__("pickle").loads(plain_of(found["a pickle"]))
    assert canary.is_dir()
    assert all(MARK not in repr(payload) for payload in found.values())
