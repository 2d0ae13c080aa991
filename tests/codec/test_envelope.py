"""Wrapped payloads: they come back exactly, in their place only, and under their key only."""

import sys

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt import KeyRing
from kernelckpt.codec import envelope
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.envelope import COMPRESSED, PLAIN, SEALED, decompress
from kernelckpt.codec.frame import (
    ITEMS,
    RECORDS,
    ContainerDecoder,
    closing,
    container_digest,
    decode_frame,
    encode_plain,
    entry_origin,
    frame_digest,
    frame_head,
)
from kernelckpt.codec.version import FORMAT_VERSION
from kernelckpt.errors import (
    CorruptionError,
    DecodeError,
    EncryptionError,
    FormatError,
    PlaintextError,
    UnknownKeyError,
    UsageError,
)
from kernelckpt.log.container_writer import ContainerWriter, Payload
from kernelckpt.log.options import LogStats
from kernelckpt.log.time_slice import TimeSlice

KEYS = {"k1": bytes(range(32)), "k2": bytes(range(32, 64))}
ORIGIN = entry_origin("run", 1, 2)
CODECS = {
    "plain": Codec(),
    "compressed": Codec(compression=3),
    "sealed": Codec(KeyRing(KEYS)),
    "both": Codec(KeyRing(KEYS), 3),
}
SEALING = [CODECS["sealed"], CODECS["both"]]
PAYLOADS = (b"one" * 100, b"", b"three" * 70, b"one" * 100)


async def written(codec, *payloads, origin=ORIGIN):
    """A container with these payloads; its bytes and its digest."""
    wrapper = codec.wrapper()
    header = encode_plain(("kckpt", FORMAT_VERSION, "delta", "run", 1, 2, wrapper.key_id))
    writer = ContainerWriter(origin, header, TimeSlice(1.0, LogStats()), wrapper)
    for data in payloads:
        payload = Payload()
        payload.add(data)
        await writer.add(RECORDS, payload)
    digest = writer.finish()
    return b"".join(writer.take()), digest


def read(codec, data, *, origin=ORIGIN, key_id=None):
    """What a reader who expects that key finds: frames and digest."""
    if key_id is None:
        key_id = codec.keys.active if codec.keys else ""
    decoder = ContainerDecoder(origin, "entry 2", codec, key_id=key_id)
    frames = list(decoder.feed(data))
    return frames, decoder.finish()


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
async def test_payloads_come_back_whole_or_one_by_one(codec):
    data, digest = await written(codec, *PAYLOADS)
    frames, found = read(codec, data)
    assert [frame.payload for frame in frames] == list(PAYLOADS)
    assert found == digest
    for frame in frames:
        piece = data[frame.offset : frame.offset + frame.length]
        assert decode_frame(piece, ORIGIN, frame.offset, "here", codec, tag=frame.tag) == frame


@given(st.lists(st.binary(max_size=2000), max_size=5), st.sampled_from(list(CODECS)))
def test_any_payload_comes_back(payloads, name):
    import asyncio

    data, _ = asyncio.run(written(CODECS[name], *payloads))
    assert [frame.payload for frame in read(CODECS[name], data)[0]] == payloads


async def test_large_payloads_come_back():
    large = b"0123456789abcdef" * 300_000
    for codec in CODECS.values():
        data, _ = await written(codec, large, b"small")
        (first, second), _ = read(codec, data)
        assert (first.payload, second.payload) == (large, b"small")


async def test_what_compresses_is_compressed_and_what_does_not_is_left():
    random = bytes(msgpack.packb([hash(str(n)) % 2**63 for n in range(60)]))
    data, _ = await written(CODECS["compressed"], bytes(range(50)) * 30, random, b"short")
    assert len(data) < 1800
    kinds = [value[2] for value in walk(data) if type(value[0]) is int]
    assert kinds == [COMPRESSED, PLAIN, PLAIN]


def walk(data):
    unpacker = msgpack.Unpacker(use_list=False)
    unpacker.feed(data)
    return list(unpacker)


@pytest.mark.parametrize("codec", SEALING, ids=["sealed", "both"])
async def test_nothing_of_a_payload_is_to_be_seen(codec):
    data, _ = await written(codec, b"a canary in a mine" * 3)
    assert b"canary" not in data
    again, _ = await written(codec, b"a canary in a mine" * 3)
    assert data != again, "no two containers are encrypted alike"


@pytest.mark.parametrize("codec", SEALING, ids=["sealed", "both"])
async def test_every_flipped_bit_and_every_truncation_is_refused(codec):
    data, _ = await written(codec, b"one" * 100, b"two" * 9)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            read(codec, bytes(changed))
    for size in range(len(data)):
        with pytest.raises(FormatError):
            read(codec, data[:size])


def forged(objects):
    """A container of these objects with digests as somebody without the key would make them."""
    header = encode_plain(objects[0])
    pieces, chain = [header], container_digest(header)
    for kind, version, encoding, _, payload in objects[1:-1]:
        offset, size = sum(map(len, pieces)), len(payload)
        digest = frame_digest(ORIGIN, offset, kind, size, version=version, encoding=encoding)
        digest.update(payload)
        head = frame_head(kind, digest.digest(), size, version=version, encoding=encoding)
        pieces.append(head + payload)
        chain.update(digest.digest())
    return b"".join([*pieces, closing(chain, len(objects) - 2)[0]])


async def test_frames_that_are_moved_left_out_repeated_or_added_are_refused_although_all_digests_fit():
    codec = CODECS["sealed"]
    whole = walk((await written(codec, *PAYLOADS))[0])
    other = walk((await written(codec, *PAYLOADS))[0])
    plain = walk((await written(CODECS["plain"], *PAYLOADS))[0])
    header, one, two, three, four, end = whole
    for objects in (
        (header, two, one, three, four, end),
        (header, one, two, four, three, end),
        (header, two, three, four, end),
        (header, one, two, three, end),
        (header, one, two, three, four, four, end),
        (header, four, two, three, one, end),
        (header, other[1], two, three, four, end),
        (header, plain[1], two, three, four, end),
        (header, end),
        ((*header[:4], 9, *header[5:]), one, two, three, four, end),
        whole,
    ):
        with pytest.raises(CorruptionError):
            read(codec, forged(objects))


async def test_a_container_is_refused_elsewhere():
    codec = CODECS["sealed"]
    data, _ = await written(codec, *PAYLOADS)
    for origin in (entry_origin("run", 1, 3), entry_origin("run", 2, 2), entry_origin("other", 1, 2)):
        with pytest.raises(CorruptionError):
            read(codec, data, origin=origin)


async def test_a_frame_that_is_read_by_itself_is_refused_elsewhere_although_its_digest_fits():
    codec = CODECS["sealed"]
    data, _ = await written(codec, b"payload")
    (frame,), _ = read(codec, data)
    payload = walk(data)[1][-1]
    moved = frame_of(payload, SEALED, offset=frame.offset)
    assert decode_frame(moved, ORIGIN, frame.offset, "here", codec, tag=frame.tag) == frame
    for other in ({"origin": entry_origin("run", 1, 3)}, {"kind": ITEMS}, {"offset": 77}):
        place = {"origin": ORIGIN, "offset": frame.offset, "kind": RECORDS} | other
        forgery = frame_of(payload, SEALED, **place)
        tag = walk(forgery)[0][3][:8]  # a reader who is told that it must be this one
        with pytest.raises(UnknownKeyError):
            decode_frame(forgery, place["origin"], place["offset"], "here", codec, tag=tag)


async def test_another_frame_of_the_same_place_is_refused():
    """As an earlier life of the run left it, or a copy that went on by itself: the reference tells."""
    codec = CODECS["sealed"]
    mine, theirs = [(await written(codec, text))[0] for text in (b"yes", b"no!")]
    (frame,), _ = read(codec, mine)
    piece, other = (data[frame.offset : frame.offset + frame.length] for data in (mine, theirs))
    assert decode_frame(piece, ORIGIN, frame.offset, "here", codec, tag=frame.tag) == frame
    for data, tag in ((other, frame.tag), (other, b""), (piece, b"")):
        with pytest.raises(CorruptionError, match="not the frame that is referred to"):
            decode_frame(data, ORIGIN, frame.offset, "here", codec, tag=tag)


async def test_plaintext_is_refused_where_there_are_keys():
    data, _ = await written(CODECS["plain"], *PAYLOADS)
    frame = read(CODECS["plain"], data)[0][0]
    piece = data[frame.offset : frame.offset + frame.length]
    strict, lenient = Codec(KeyRing(KEYS)), Codec(KeyRing(KEYS, accept_plaintext=True))
    with pytest.raises(PlaintextError) as caught:
        read(strict, data, key_id="")
    assert "accept_plaintext" in caught.value.hint
    with pytest.raises(PlaintextError):
        decode_frame(piece, ORIGIN, frame.offset, "here", strict)
    assert read(lenient, data, key_id="")[0][0] == frame
    assert decode_frame(piece, ORIGIN, frame.offset, "here", lenient) == frame
    with pytest.raises(CorruptionError, match="another key"):
        read(lenient, data, key_id="k1")


async def test_what_another_key_wrote_is_refused():
    data, _ = await written(CODECS["sealed"], *PAYLOADS)
    frame = read(CODECS["sealed"], data)[0][0]
    piece = data[frame.offset : frame.offset + frame.length]
    for without in (Codec(), Codec(KeyRing({"k2": KEYS["k2"]}))):
        for attempt in (
            lambda codec=without: read(codec, data, key_id="k1"),
            lambda codec=without: decode_frame(piece, ORIGIN, frame.offset, "here", codec, tag=frame.tag),
        ):
            with pytest.raises(UnknownKeyError, match="'k1'") as caught:
                attempt()
            assert caught.value.key_id == "k1"
            assert isinstance(caught.value, EncryptionError)
    foreign = Codec(KeyRing({"k1": KEYS["k2"]}))
    with pytest.raises(CorruptionError):
        read(foreign, data)
    with pytest.raises(UnknownKeyError, match="'k1' that is at hand"):
        decode_frame(piece, ORIGIN, frame.offset, "here", foreign, tag=frame.tag)


async def test_a_rotation_changes_what_is_written_next():
    ring = KeyRing(KEYS)
    codec = Codec(ring)
    first, _ = await written(codec, b"payload")
    ring.use("k2")
    second, _ = await written(codec, b"payload")
    assert [walk(data)[0][-1] for data in (first, second)] == ["k1", "k2"]
    assert read(codec, first, key_id="k1")[0][0].payload == read(codec, second, key_id="k2")[0][0].payload


SKIPPABLE = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)
BOMBS = {
    "more than it may hold": zstandard.compress(bytes(1 << 20)),
    "no size": SKIPPABLE,
    "a size above the limit": b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + b"\x00" * 9,
    "no such format": b"plain",
    "nothing": b"",
    "less than it says": b"\x28\xb5\x2f\xfd\xa0\xe8\x03\x00\x00\x01\x00\x00",
    "something behind": zstandard.compress(b"x" * 500) + b"more",
    "a dictionary": b"\x28\xb5\x2f\xfd\x21\x07\x10\x01\x00\x00",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused(bomb):
    with pytest.raises(DecodeError):
        decompress(bomb, "here")


def test_a_bomb_that_says_its_size_is_refused_before_it_is_opened(monkeypatch):
    bomb = zstandard.compress(bytes(envelope.MAX_PAYLOAD_BYTES + 1))
    monkeypatch.setattr(zstandard, "ZstdDecompressor", None)
    with pytest.raises(DecodeError, match="67108865 bytes"):
        decompress(bomb, "here")


def test_no_level_and_no_package_are_told(monkeypatch):
    for level in (0, 23, -1, 1.5, True, "3"):
        with pytest.raises(UsageError, match="compression is"):
            Codec(compression=level)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for attempt in (lambda: Codec(compression=3), lambda: decompress(b"", "here")):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert "kernelckpt[compression]" in caught.value.hint


@pytest.mark.parametrize("payload", [b"", b"\x00" * 40, b"\x02\xff\xff" + bytes(40), b"\x02k1" + bytes(31)])
def test_what_is_no_encrypted_payload_is_refused(payload):
    data = frame_of(payload, SEALED)
    with pytest.raises(DecodeError, match="not an encrypted payload"):
        decode_frame(data, ORIGIN, 0, "here", CODECS["sealed"])


def frame_of(payload, encoding, *, origin=ORIGIN, offset=0, kind=RECORDS):
    digest = frame_digest(origin, offset, kind, len(payload), encoding=encoding)
    digest.update(payload)
    return frame_head(kind, digest.digest(), len(payload), encoding=encoding) + payload
