"""Containers and payloads: bounds before allocation, digests before decoding, exact spans."""

import contextlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.codec.change import (
    Reference,
    StreamIndex,
    decode_changes,
    decode_index,
    each_reference,
    encode_index,
    encode_reference,
    encode_remove,
    items_head,
    put_head,
)
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import (
    BlobPointer,
    EntryHeader,
    EntryMeta,
    check_header,
    decode_facts,
    decode_meta,
    encode_meta,
)
from kernelckpt.codec.frame import (
    BASE,
    ITEMS,
    NO_DIGEST,
    RECORDS,
    STREAMS,
    ContainerDecoder,
    Frame,
    bin_head,
    blob_origin,
    closing,
    container_digest,
    decode_frame,
    encode_plain,
    entry_origin,
    frame_digest,
    frame_head,
)
from kernelckpt.codec.version import FORMAT_VERSION, UPGRADES, check_version, upgrade
from kernelckpt.errors import CorruptionError, DecodeError, FormatError, UnsupportedVersionError, UsageError

ORIGIN = entry_origin("run", 1, 2)
HEADER = ("kckpt", FORMAT_VERSION, "delta", "run", 1, 2, "")
KEY = ("row", "a", 0)


def frame(payload, kind=RECORDS, *, offset=0, origin=ORIGIN, version=FORMAT_VERSION, encoding=0):
    digest = frame_digest(origin, offset, kind, len(payload), version=version, encoding=encoding)
    digest.update(payload)
    return frame_head(kind, digest.digest(), len(payload), version=version, encoding=encoding) + payload


def container(*payloads, header=HEADER, origin=ORIGIN, **options):
    raw = encode_plain(header)
    pieces, chain = [raw], container_digest(raw)
    for payload in payloads:
        made = frame(payload, offset=sum(map(len, pieces)), origin=origin, **options)
        pieces.append(made)
        chain.update(msgpack.unpackb(made)[3])
    end, digest = closing(chain, len(payloads))
    return b"".join([*pieces, end]), digest


def decode(data, step=None):
    decoder = ContainerDecoder(ORIGIN, "entry 2")
    frames = []
    for begin in range(0, len(data), step or max(len(data), 1)):
        frames += decoder.feed(data[begin : begin + (step or len(data))])
    return frames, decoder.finish()


def records(*changes):
    parts = []
    for change in changes:
        if isinstance(change, Put):
            parts.append(put_head(change.key, len(change.record)) + change.record)
        else:
            parts.append(encode_remove(change.key))
    return b"".join(parts)


def items(change):
    body = b"".join(bin_head(len(item)) + item for item in change.items)
    return items_head(change.key, change.start, len(change.items)) + body


def as_frame(kind, payload, version=FORMAT_VERSION):
    return Frame(kind, version, 0, 0, payload)


KEYS = st.tuples(st.text(max_size=20), st.text(max_size=300), st.integers(-5, 2**60))
PUTS = st.builds(Put, KEYS, st.binary(max_size=70_000))
CHANGES = st.one_of(PUTS, st.builds(Remove, KEYS))


@given(st.lists(CHANGES, max_size=8))
def test_records_round_trip(changes):
    assert decode_changes(as_frame(RECORDS, records(*changes)), "here") == changes


@given(KEYS, st.integers(0, 2**40), st.lists(st.binary(max_size=300), max_size=40))
def test_items_round_trip(key, start, values):
    append = Append(key, start, tuple(values))
    assert decode_changes(as_frame(ITEMS, items(append)), "here") == [append]


def test_very_many_items_round_trip():
    append = Append(KEY, 7, (b"x",) * 70_000)
    assert decode_changes(as_frame(ITEMS, items(append)), "here") == [append]


@given(st.lists(st.binary(max_size=400), max_size=6), st.sampled_from([None, 1, 7, 100]))
def test_containers_round_trip_in_any_pieces(payloads, step):
    data, digest = container(*payloads)
    frames, found = decode(data, step)
    assert [frame.payload for frame in frames] == payloads
    assert found == digest
    for frame in frames:
        piece = data[frame.offset : frame.offset + frame.length]
        assert decode_frame(piece, ORIGIN, frame.offset, "here") == frame


def test_any_msgpack_reader_can_walk_a_container():
    data, digest = container(records(Put(KEY, b"value")), records(Remove(KEY)))
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    header, first, second, end = unpacker
    assert header[0] == "kckpt"
    assert msgpack.unpackb(first[4]) == ["row", "a", 0, b"value"]
    assert msgpack.unpackb(second[4]) == ["row", "a", 0]
    assert end == ["end", 2, digest]


def test_every_flipped_bit_and_every_truncation_is_refused():
    data, _ = container(records(Put(KEY, b"value"), Remove(KEY)), items(Append(KEY, 0, (b"x", b"y"))))
    for bit in range(len(data) * 8):
        rotten = bytearray(data)
        rotten[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(FormatError):
            decode(bytes(rotten))
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode(data[:length])
    for more in (b"\xc0", b"\x93", data):
        with pytest.raises(FormatError):
            decode(data + more)


def test_frames_belong_to_one_place():
    made = frame(b"payload", offset=10)
    assert decode_frame(made, ORIGIN, 10, "here").payload == b"payload"
    for origin, offset in [
        (ORIGIN, 11),
        (entry_origin("run", 1, 3), 10),
        (entry_origin("run", 2, 2), 10),
        (entry_origin("other", 1, 2), 10),
        (blob_origin("run", "1"), 10),
    ]:
        with pytest.raises(CorruptionError, match="digest"):
            decode_frame(made, origin, offset, "here")
    for wrong in (made + b"\xc0", made[:-1], b"\xc0", b"", b"\x95\x01\x01\x00\x01\x01"):
        with pytest.raises(FormatError):
            decode_frame(wrong, ORIGIN, 10, "here")


def test_a_longer_form_of_the_same_frame_is_refused():
    payload = b"x" * 10
    made = frame(payload)
    longer = made[: -len(payload) - 2] + b"\xc5\x00\x0a" + payload
    assert msgpack.unpackb(longer) == msgpack.unpackb(made)
    with pytest.raises(DecodeError, match="shortest"):
        decode_frame(longer, ORIGIN, 0, "here")
    data, _ = container(header=(*HEADER[:4], 1, 2))
    with pytest.raises(FormatError):
        decode(data.replace(b"\xa3run\x01\x02", b"\xa3run\xcc\x01\x02"))


@pytest.mark.parametrize("kind", [0, 5, 200])
def test_unknown_frame_types_are_refused(kind):
    with pytest.raises(DecodeError, match=f"frame type {kind}"):
        decode_frame(frame(b"", kind), ORIGIN, 0, "here")


def test_unknown_encodings_are_refused():
    with pytest.raises(UnsupportedVersionError, match="encoding 4"):
        decode_frame(frame(b"", encoding=4), ORIGIN, 0, "here")


BOMBS = {
    "array of 4 G": b"\xdd\xff\xff\xff\xff",
    "bin of 4 G": b"\xc6\xff\xff\xff\xff",
    "text of 4 G": b"\xdb\xff\xff\xff\xff",
    "map of 4 G": b"\xdf\xff\xff\xff\xff",
    "ext of 4 G": b"\xc9\xff\xff\xff\xff\x01",
    "bin above the limit": b"\xc6\x04\x00\x00\x01",
    "nested arrays": b"\x91" * 100_000,
    "nested wide arrays": b"\xdc\x00\x40" * 2000,
    "nested maps": b"\x81" * 100_000,
    "many empty arrays": b"\x90" * 1_000_000,
    "reserved byte": b"\xc1",
    "bad text": b"\xa2\xff\xfe",
    "timestamp": b"\xd6\xff\xff\xff\xff\xff",
    "map": b"\x81\xa1a\x01",
    "float": b"\xca\x00\x00\x00\x00",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused_before_they_are_allocated(bomb):
    import tracemalloc

    tracemalloc.start()
    whole, _ = container()
    for data in (bomb, whole[: -len(msgpack.packb(["end", 0, NO_DIGEST]))] + bomb):
        with pytest.raises(FormatError):
            decode(data)
    with pytest.raises(FormatError):
        decode_frame(bomb, ORIGIN, 0, "here")
    for kind in (RECORDS, ITEMS):
        with pytest.raises(FormatError):
            decode_changes(as_frame(kind, bomb), "here")
    with pytest.raises(FormatError):
        decode_index(as_frame(STREAMS, bomb), "here")
    with pytest.raises(FormatError):
        list(each_reference(bomb, "here"))
    with pytest.raises(FormatError):
        decode_facts(bomb, "here")
    assert tracemalloc.get_traced_memory()[1] < 60 * 1024 * 1024 + 80 * len(bomb)
    tracemalloc.stop()


@pytest.mark.parametrize(
    "value",
    [
        ["row", "a"],
        ["row", "a", True],
        ["row", "a", "0"],
        [1, "a", 0],
        ["row", b"a", 0],
        ["row", "a", 0, "text"],
        ["row", "a", 0, b"x", 1],
        ["row", "a", 0, [b"x"]],
        "row",
        7,
    ],
)
def test_malformed_changes_are_refused(value):
    with pytest.raises(DecodeError, match="here"):
        decode_changes(as_frame(RECORDS, msgpack.packb(value)), "here")
    with pytest.raises(DecodeError, match="here"):
        decode_changes(as_frame(ITEMS, msgpack.packb(value)), "here")


@pytest.mark.parametrize("tail", [[-1, [b"x"]], [0, b"x"], [0, ["x"]], [0.0, []], [True, []]])
def test_malformed_items_are_refused(tail):
    payload = msgpack.packb(["row", "a", 0, *tail])
    with pytest.raises(DecodeError):
        decode_changes(as_frame(ITEMS, payload), "here")
    with pytest.raises(DecodeError):
        decode_changes(as_frame(ITEMS, items(Append(KEY, 0, (b"x",))) * 2), "here")


def test_payloads_end_with_their_last_object():
    good = records(Put(KEY, b"value"))
    for wrong in (good[:-1], good + b"\x93\xa1a", good + b"\xc0"):
        with pytest.raises(DecodeError):
            decode_changes(as_frame(RECORDS, wrong), "here")
    with pytest.raises(DecodeError, match="holds no changes"):
        decode_changes(as_frame(BASE, good), "here")


REFERENCES = st.one_of(
    st.builds(Reference, st.just(""), *[st.integers(0, 2**50)] * 5),
    st.builds(Reference, st.text(min_size=1, max_size=20), *[st.just(0)] * 2, *[st.integers(0, 2**50)] * 3),
)


@given(st.lists(REFERENCES, max_size=20))
def test_references_round_trip(references):
    packed = b"".join(map(encode_reference, references))
    assert list(each_reference(packed, "here")) == references
    index = StreamIndex(("history", "a", 3), 17, packed)
    assert decode_index(as_frame(STREAMS, encode_index(index) * 2), "here") == [index, index]


def test_a_reference_is_small():
    assert len(encode_reference(Reference("", 3, 1000, 100, 400, 50))) <= 12


@pytest.mark.parametrize(
    "value", [[1, 2, 3, 4], ["", 1, 2, 3], ["a", 1, 2], [1, 2, 3, 4, -1], ["a", 1, 2, True]]
)
def test_malformed_references_are_refused(value):
    with pytest.raises(DecodeError):
        list(each_reference(msgpack.packb(value), "here"))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_one_kind_of_error(data):
    for read in (
        lambda: decode(data),
        lambda: decode_frame(data, ORIGIN, 0, "here"),
        lambda: decode_changes(as_frame(RECORDS, data), "here"),
        lambda: decode_changes(as_frame(ITEMS, data), "here"),
        lambda: decode_index(as_frame(STREAMS, data), "here"),
        lambda: list(each_reference(data, "here")),
        lambda: decode_facts(data, "here"),
        lambda: decode_meta(data, "run", 1, 2),
    ):
        with contextlib.suppress(FormatError):
            read()


META = EntryMeta(
    kind="delta",
    previous_epoch=1,
    previous_sequence=1,
    previous_digest=NO_DIGEST,
    digest=b"d" * 16,
    wall_ms=1_700_000_000_000,
    turn=5,
    changes=2,
    trigger="turn",
    state=None,
)


def test_metadata_round_trips_and_is_sealed_to_its_entry():
    data = encode_meta(META, "run", 1, 2)
    assert decode_meta(data, "run", 1, 2) == META
    assert len(data) < 100
    for place in (("other", 1, 2), ("run", 2, 2), ("run", 1, 3)):
        with pytest.raises(CorruptionError, match="seal"):
            decode_meta(data, *place)
    with pytest.raises(UsageError):
        encode_meta(meta_with(trigger="x" * 500), "run", 1, 2)


def meta_with(**changes):
    from msgspec import structs

    return structs.replace(META, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"previous_sequence": 2},
        {"kind": "base"},
        {"kind": "other"},
        {"digest": b"short"},
        {"turn": -1},
        {"state": BlobPointer("b", 1, NO_DIGEST, 0)},
        {"version": "1"},
    ],
)
def test_metadata_that_contradicts_itself_is_refused(changes):
    data = encode_meta(meta_with(**changes), "run", 1, 2)
    with pytest.raises(DecodeError):
        decode_meta(data, "run", 1, 2)


def test_headers_are_compared_with_what_was_listed():
    header = EntryHeader(
        kind="delta",
        run_id="run",
        epoch=1,
        sequence=2,
        previous_epoch=1,
        previous_sequence=1,
        previous_digest=NO_DIGEST,
        wall_ms=1,
        turn=1,
        changes=1,
    )
    fields = tuple(msgpack.unpackb(encode_plain(header)))
    assert len(encode_plain(header)) < 60
    check_header(fields, header, "entry 2")
    with pytest.raises(CorruptionError, match="run_id 'other'"):
        check_header((*fields[:3], "other", *fields[4:]), header, "entry 2")
    with pytest.raises(DecodeError):
        check_header((*fields, 1), header, "entry 2")


def test_newer_versions_are_named():
    newer = FORMAT_VERSION + 1
    data, _ = container(header=("kckpt", newer, "a header", "of another", "shape"))
    with pytest.raises(UnsupportedVersionError) as caught:
        decode(data)
    assert (caught.value.found, caught.value.supported) == (newer, FORMAT_VERSION)


@pytest.mark.parametrize("found", [-1, "1", None, True])
def test_what_is_no_version_is_refused(found):
    with pytest.raises(DecodeError):
        check_version(found, "here")


def test_older_versions_go_through_their_steps():
    def step(changes):
        return [Put(change.key, change.record.upper()) for change in changes]

    steps = {0: step, **UPGRADES}
    payload = records(Put(KEY, b"old"))
    assert check_version(0, "here", steps) == 0
    assert decode_changes(as_frame(RECORDS, payload, 0), "here", steps) == [Put(KEY, b"OLD")]
    assert upgrade([Put(KEY, b"new")], FORMAT_VERSION, steps) == [Put(KEY, b"new")]
    with pytest.raises(UnsupportedVersionError, match="no step leads from 0 to 1"):
        check_version(0, "here", {})
    old, digest = container(payload, header=("kckpt", 0, "delta"), version=0)
    decoder = ContainerDecoder(ORIGIN, "entry 2", Codec(steps=steps))
    (found,) = decoder.feed(old)
    assert (found.version, decoder.finish()) == (0, digest)
    mixed, _ = container(payload, header=("kckpt", 0, "delta"))
    with pytest.raises(DecodeError, match="another version"):
        list(ContainerDecoder(ORIGIN, "entry 2", Codec(steps=steps)).feed(mixed))
