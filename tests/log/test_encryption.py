"""Encrypted runs: nothing is read without the keys or changed unnoticed, and a rotation loses nothing."""

import itertools
from functools import partial

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers import aead
from log_kit import RUN, state_of

from kernelckpt import KeyRing
from kernelckpt.abc import EntryInfo
from kernelckpt.codec import envelope
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import EntryMeta, _seal
from kernelckpt.codec.frame import entry_origin
from kernelckpt.errors import (
    CorruptionError,
    EncryptionError,
    PlaintextError,
    StorageFullError,
    SyncFailedError,
    UnknownKeyError,
    UnknownOutcomeError,
)
from kernelckpt.log import LogOptions, Retention, list_checkpoints, read_run

KEYS = {"k1": bytes(range(32)), "k2": bytes(range(32, 64)), "k3": bytes(range(64, 96))}
CANARY = b"a canary in a mine"


def codec(*names, compression=None, **options):
    return Codec(KeyRing({name: KEYS[name] for name in names or KEYS}, **options), compression)


async def fill(client):
    """Records, items and a base, in several entries."""
    client.put("a", CANARY)
    client.say("a", CANARY, b"more")
    await client.flush()
    client.put("b", CANARY * 2)
    client.say("a", b"and more")
    await client.flush()
    await client.base()
    client.say("a", CANARY)
    client.remove("b")
    await client.flush()


@pytest.mark.parametrize("level", [None, 3])
async def test_a_run_is_read_with_its_keys_and_shows_nothing_without(storage, reopen, level):
    client = await reopen(codec=codec(compression=level))
    await fill(client)
    stored = [body + info.meta for info, body in storage.entries().values()] + list(storage.blobs().values())
    assert not any(part in data for data in stored for part in (CANARY, b"more", b"row", b"history"))
    assert state_of(await read_run(storage, RUN, codec=codec())) == client.state()
    for sequence, state in client.at.items():
        assert state_of(await read_run(storage, RUN, sequence, codec=codec())) == state
    again = await reopen(codec=codec())
    assert again.state() == client.state()
    assert {info.key for info in await list_checkpoints(storage, RUN, codec=codec())} == {"k1"}


@pytest.mark.parametrize("on_corruption", ["refuse", "fall_back"])
async def test_without_the_key_a_run_is_refused_by_the_name_of_the_key(storage, reopen, on_corruption):
    await fill(await reopen(codec=codec("k1")))
    for wrong in (Codec(), codec("k2"), Codec(KeyRing({"k1": KEYS["k2"]}))):
        for attempt in (
            lambda wrong=wrong: read_run(storage, RUN, on_corruption=on_corruption, codec=wrong),
            lambda wrong=wrong: list_checkpoints(storage, RUN, codec=wrong),
            lambda wrong=wrong: reopen(on_corruption=on_corruption, codec=wrong),
        ):
            with pytest.raises(UnknownKeyError, match="run 'run', entry") as caught:
                await attempt()
            assert caught.value.key_id == "k1"


async def test_a_run_that_was_begun_without_keys_is_accepted_with_them_only_when_asked(storage, reopen):
    client = await reopen()
    await fill(client)
    with pytest.raises(PlaintextError):
        await reopen(codec=codec())
    lenient = codec(accept_plaintext=True)
    mixed = await reopen(codec=lenient)
    assert mixed.state() == client.state()
    await fill(mixed)
    assert state_of(await read_run(storage, RUN, codec=lenient)) == mixed.state()
    with pytest.raises(PlaintextError):
        await read_run(storage, RUN, codec=codec())  # items that lie in entries of before are not encrypted
    with pytest.raises(UnknownKeyError):
        await read_run(storage, RUN)


async def test_one_plain_entry_put_among_encrypted_ones_is_refused(storage, reopen):
    """What somebody without the key can make: an entry whose digests, seal and predecessor all fit."""
    client = await reopen(codec=codec())
    await fill(client)
    forger = await reopen(codec=codec(accept_plaintext=True))
    forger.log._writer._codec = Codec()
    forger.put("a", b"forged")
    await forger.flush()
    lenient = await read_run(storage, RUN, codec=codec(accept_plaintext=True))
    assert lenient.records["row", "a", 0] == b"forged"
    with pytest.raises(PlaintextError):
        await read_run(storage, RUN, codec=codec())


def resealed(info, **changes):
    """Metadata with fields changed by somebody who can make a seal, but no tag."""
    names = EntryMeta.__struct_fields__
    fields = msgpack.unpackb(info.meta[:-18])
    for name, value in changes.items():
        fields[names.index(name)] = value
    raw = msgpack.packb(fields)
    seal = _seal(raw, entry_origin(RUN, info.epoch, info.sequence))
    return EntryInfo(info.epoch, info.sequence, info.size, raw + b"\xc4\x10" + seal)


@pytest.mark.parametrize(
    "changes",
    [
        {"trigger": "another"},
        {"turn": 99},
        {"wall_ms": 5},
        {"changes": 7},
        {"previous_digest": bytes(16)},
        {"digest": bytes(16)},
        {"tag": bytes(16)},
        {"tag": b"", "key": ""},
        {"key": "k2"},
    ],
    ids=str,
)
async def test_metadata_that_was_changed_and_sealed_anew_is_refused(storage, reopen, changes):
    await fill(await reopen(codec=codec()))
    info, body = storage.entries()[4]
    assert resealed(info).meta == info.meta
    storage.entries()[4] = (resealed(info, **changes), body)
    for choice in ("refuse", "fall_back"):
        with pytest.raises(EncryptionError):
            await read_run(storage, RUN, on_corruption=choice, codec=codec())
    with pytest.raises(EncryptionError):
        await list_checkpoints(storage, RUN, codec=codec())


async def test_a_damaged_byte_is_damage_and_no_matter_of_keys(storage, reopen):
    client = await reopen(codec=codec())
    await fill(client)
    storage.damage(4)
    with pytest.raises(CorruptionError):
        await read_run(storage, RUN, codec=codec())
    assert state_of(await read_run(storage, RUN, on_corruption="fall_back", codec=codec())) == client.at[3]


async def test_a_blob_whose_key_is_misnamed_is_damage(storage, reopen):
    client = await reopen(codec=codec())
    await fill(client)
    (name,) = storage.blobs()
    place = storage.blobs()[name].index(b"\xa2k1")
    storage.damage_blob(name, place + 2)
    with pytest.raises(CorruptionError, match="another key"):
        await read_run(storage, RUN, codec=codec())


@pytest.fixture
def used(monkeypatch):
    """Every (key, nonce) that anything was encrypted with."""
    seen = []

    class Recorded:
        def __init__(self, key):
            self._key = key
            self._inner = inner(key)

        def encrypt(self, nonce, data, associated_data):
            seen.append((self._key, nonce))
            return self._inner.encrypt(nonce, data, associated_data)

        def decrypt(self, nonce, data, associated_data):
            return self._inner.decrypt(nonce, data, associated_data)

    inner = aead.AESGCM
    envelope._cipher.cache_clear()
    monkeypatch.setattr(aead, "AESGCM", Recorded)
    yield seen
    envelope._cipher.cache_clear()


FAILURES = [StorageFullError("full"), SyncFailedError("sync"), UnknownOutcomeError("lost")]


async def test_no_nonce_is_used_twice_with_a_key_whatever_fails(storage, reopen, used):
    """What failed is encoded again under the same number, with more in it: it must not meet its nonces."""
    ring = codec()
    for order in itertools.permutations(FAILURES):
        client = await reopen(codec=ring, options=LogOptions(retry_first=0.0, sparse_below=2.0))
        storage.before, storage.after = [*order, None], [None, FAILURES[2]]
        for number in range(4):
            client.put("a", b"%d" % number)
            client.say("a", b"item %d" % number)
            await client.flush()
        storage.before, storage.after = [], []
        await client.base()
        await client.base()
    assert len(used) > 100
    assert len(set(used)) == len(used)


OPERATIONS = ["delta", "base", "prune", "reopen"]


@pytest.mark.parametrize("at", range(len(OPERATIONS) + 1))
@pytest.mark.parametrize("how", ["use", "another ring"])
async def test_a_rotation_at_any_time_loses_nothing(storage, reopen, at, how):
    ring = codec("k1", "k2")
    client = await reopen(codec=ring)
    await fill(client)
    for number, operation in enumerate([*OPERATIONS, "delta"]):
        if number == at and how == "use":
            ring.keys.use("k2")
        elif number == at:
            ring = codec("k2", "k1")
            client = await reopen(codec=ring)
        if operation == "delta":
            client.say("a", b"delta %d" % number)
            await client.flush()
        elif operation == "base":
            await client.base(between=partial(ring.keys.use, "k2"))
        elif operation == "prune":
            await client.log.prune(Retention(bases=1))
        else:
            state = client.state()
            client = await reopen(codec=ring)
            assert client.state() == state
        assert state_of(await read_run(storage, RUN, codec=codec("k2", "k1"))) == client.state()
    newest = (await list_checkpoints(storage, RUN, codec=ring))[-1]
    assert newest.key == "k2"
    with pytest.raises(UnknownKeyError):
        await read_run(storage, RUN, codec=codec("k2"))  # items of before lie where they lay


async def test_a_base_with_its_items_copied_needs_the_active_key_only(storage, reopen):
    client = await reopen(codec=codec("k1"))
    await fill(client)
    client = await reopen(codec=codec("k2", "k1"))
    await client.log.write_base(client.scan(), "rekey", copy_items=True)
    await client.log.prune(Retention(bases=1))
    assert state_of(await read_run(storage, RUN, codec=codec("k2"))) == client.state()
    client = await reopen(codec=codec("k2"))
    client.say("a", b"one more")
    await client.flush()
    await client.base()
    assert state_of(await read_run(storage, RUN, codec=codec("k2"))) == client.state()


async def test_what_was_set_aside_under_another_key_stops_nothing_and_goes_when_asked(storage, reopen):
    client = await reopen()
    await fill(client)
    storage.damage(4)
    lenient = codec("k1", accept_plaintext=True)
    client = await reopen(codec=lenient, on_corruption="fall_back")
    await client.log.write_base(client.scan(), "rekey", copy_items=True)
    await client.log.prune(Retention(bases=1))
    client = await reopen(codec=codec("k1"))
    client.say("a", b"more")
    await client.flush()
    await client.base()
    await client.log.prune(Retention(bases=1))
    locked = [info for info in await list_checkpoints(storage, RUN, codec=codec("k1")) if info.damage]
    assert "not encrypted" in locked[0].damage
    await client.log.prune(Retention(bases=1, set_aside=False))
    listed = await list_checkpoints(storage, RUN, codec=codec("k1"))
    assert {(info.key, info.damage) for info in listed} == {("k1", "")}
    assert state_of(await read_run(storage, RUN, codec=codec("k1"))) == client.state()


async def test_a_base_that_cannot_be_written_for_want_of_a_key_is_a_failed_base(storage, reopen):
    client = await reopen(codec=codec("k1"))
    await fill(client)
    client = await reopen(codec=codec("k2", "k1"))
    keys = client.log._writer._codec.keys
    del keys._keys["k1"]  # as a ring that was made anew without it, after the start
    for failed in (1, 2):
        with pytest.raises(UnknownKeyError):
            await client.log.write_base(client.scan(), "rekey", copy_items=True)
        assert client.log.stats.failures == failed
    client.put("a", b"the deltas are not affected")
    await client.flush()


async def test_a_wrong_key_of_the_right_name_is_a_matter_of_keys_wherever_it_is_met(storage, reopen):
    client = await reopen(codec=codec("k1"))
    await fill(client)
    client = await reopen(codec=codec("k2", "k1"))
    await client.base()
    client.put("b", b"later")
    await client.flush()
    wrong = Codec(KeyRing({"k2": KEYS["k2"], "k1": KEYS["k3"]}))
    for choice in ("refuse", "fall_back"):
        with pytest.raises(UnknownKeyError, match="'k1'"):
            await read_run(storage, RUN, on_corruption=choice, codec=wrong)
