"""Whatever a kernel can hold comes back from a snapshot exactly, by JSON too."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from msgspec import json, msgpack
from msgspec.structs import fields
from record_strategies import (
    Given,
    all_traits,
    classes_in,
    states,
    traits_of,
    values_of,
)

from kernelckpt import KernelSnapshot
from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS, decode_item, decode_record, encode_record
from kernelckpt.kernel.snapshot import records_of, snapshot_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.context import Context
from kernelckpt.model.snapshot_part import BY_NUMBER, BY_TASK, BY_TASK_AND_NUMBER, OF_KERNEL

FIXED = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
PATIENT = settings(FIXED, max_examples=5000, phases=[Phase.generate])
CLASSES = classes_in(*RECORD_TYPES.values(), *STREAM_ITEMS.values())
"""Each class of which something is kept."""


def live(given_: Given) -> KernelState:
    return loaded(given_.encoded())


def loaded(records) -> KernelState:
    state = KernelState(lambda _: None)
    state.load(records)
    return state


@pytest.mark.parametrize("cls", CLASSES)
def test_every_record_is_given_back_with_all_it_can_hold(cls):
    seen = set()

    @settings(FIXED, max_examples=50)
    @given(values_of(cls))
    def check(record):
        data = encode_record(record)
        again = msgpack.decode(data, type=cls)
        assert again == record
        assert encode_record(again) == data
        seen.update(traits_of(record))

    check()
    for trait in all_traits(cls) - seen:
        find(values_of(cls), lambda record: trait in traits_of(record), settings=PATIENT)  # noqa: B023


@settings(FIXED, max_examples=120)
@given(states())
def test_a_snapshot_holds_the_whole_state(state):
    first = snapshot_of(live(state))
    assert KernelSnapshot.from_json(first.to_json()) == first
    records = records_of(KernelSnapshot.from_dict(json.decode(first.to_json())))
    assert {key: decode_record(key, data) for key, data in records.records.items()} == {
        key: record for key, record in state.records.items() if record != Context()
    }
    assert {
        key: tuple(decode_item(key[0], data, "item") for data in items)
        for key, items in records.streams.items()
    } == state.streams
    assert snapshot_of(loaded(records)) == first


def test_every_kind_of_record_has_its_place():
    kept = [*BY_TASK, *BY_TASK_AND_NUMBER, *OF_KERNEL, *BY_NUMBER]
    assert sorted([*kept, "task", "context"]) == sorted(RECORD_TYPES)
    named = {field.name for field in fields(KernelSnapshot)}
    tables = (BY_TASK, BY_TASK_AND_NUMBER, OF_KERNEL, BY_NUMBER)
    assert {name for table in tables for name in table.values()} <= named
