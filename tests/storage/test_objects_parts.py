"""Parts of the object storage that need no server: names, records, the end of a long log, who is alive."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.errors import StorageUnavailableError, UnsupportedVersionError
from kernelckpt.storage.objects.cache import RecordCache
from kernelckpt.storage.objects.client import PAGE, Found, Listed
from kernelckpt.storage.objects.key import blob_key, blob_name, number_of, numbered, run_key
from kernelckpt.storage.objects.log import Log, Tail
from kernelckpt.storage.objects.owner import Owner, living_holder
from kernelckpt.storage.objects.record import CLAIM, ENTRY, OWNER, RELEASED, TORN, Record, decode, encode
from kernelckpt.storage.together import together

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=300)


@given(ANY_TEXT)
def test_a_blob_key_is_its_name_or_a_digest(name):
    key = blob_key(name)
    assert len(key) <= 400
    assert set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=")
    assert blob_name(key) in {name, None}
    assert (blob_name(key) is None) == (len(key) == 34 and key.startswith("=="))


@given(ANY_TEXT, ANY_TEXT)
def test_runs_are_told_apart(one, other):
    assert (run_key(one) == run_key(other)) == (one == other)
    assert len(run_key(one)) <= 73


@given(st.lists(st.integers(1, 10**15)))
def test_keys_sort_as_their_numbers(numbers):
    keys = sorted(numbered("log", number) for number in numbers)
    assert [number_of(key) for key in keys] == sorted(numbers)


RECORD = Record(ENTRY, 7, 8, 3, b"meta", b"the body", attempt=b"a" * 16)


def test_a_record_comes_back():
    found = decode(encode(RECORD), len(encode(RECORD)))
    assert (found.kind, found.epoch, found.sequence, found.began) == (ENTRY, 7, 8, 3)
    assert (found.meta, found.body, found.size, found.flaw) == (b"meta", b"the body", 8, "")


def test_a_record_cut_off_anywhere_is_torn():
    data = encode(RECORD)
    for length in range(len(data)):
        assert decode(data[:length], length).flaw == TORN, length


def test_a_record_changed_anywhere_is_damaged():
    data = encode(RECORD)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x80
        try:
            assert decode(bytes(changed), len(data)).flaw not in {"", TORN}, place
        except UnsupportedVersionError:
            assert place == 4


def test_more_than_a_record_is_damaged():
    data = encode(RECORD) + b"x"
    assert "1 bytes too many" in decode(data, len(data)).flaw


def test_the_beginning_of_a_record_is_enough():
    data = encode(RECORD)
    assert decode(data[:-3], len(data)).flaw == ""


class Bucket:
    """A listing of any length, in pages; it counts them."""

    name = "bucket"
    prefix = ""

    def __init__(self, numbers):
        self.keys = [numbered("log", number) for number in numbers]
        self.pages = 0

    async def page(self, folder, after=""):
        self.pages += 1
        low, high = 0, len(self.keys)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.keys[middle] <= after else (low, middle)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return [Listed(key, 100, "", now) for key in self.keys[low : low + PAGE]]

    async def get(self, key, size=0):
        data = encode(Record(CLAIM, 1, number_of(key), number_of(key)))
        return Found(data, len(data), {}, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("numbers", "pages"),
    [
        (range(1, 11), 1),
        (range(1, 1001), 5),
        (range(1, 2501), 8),
        (range(1, 1_000_001), 40),
        ([*range(1, 400_000, 401), *range(399_000, 400_000)], 25),
        ([*range(1, 1500), 10_000_000], 30),
        (range(5_000_000, 5_000_010), 1),
    ],
)
async def test_the_end_is_found_in_a_few_pages(numbers, pages):
    bucket = Bucket(numbers)
    log = Log(bucket, "log", RecordCache())
    assert (await log.tail()).number == max(numbers)
    assert bucket.pages <= pages
    bucket.pages = 0
    assert (await log.tail()).number == max(numbers)
    assert bucket.pages == 1


NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A server whose clock stands still."""

    async def now(self):
        return NOW


@pytest.mark.parametrize(
    ("tail", "owner", "alive"),
    [
        (None, None, False),
        ((CLAIM, 1, 0), None, True),
        ((CLAIM, 1, 26), None, False),
        ((CLAIM, 1, 26), (OWNER, 1, 24), True),
        ((ENTRY, 1, 24), (OWNER, 1, 99), True),
        ((ENTRY, 1, 26), (OWNER, 1, 26), False),
        ((ENTRY, 1, 0), (RELEASED, 1, 0), False),
        ((CLAIM, 2, 0), (RELEASED, 1, 0), True),
        ((CLAIM, 1, 0), (RELEASED, 2, 0), False),
        ((CLAIM, 1, 0), (0, 0, 0), True),
    ],
)
async def test_who_is_alive_is_judged_by_the_server_alone(tail, owner, alive):
    """An append, a placeholder and a beat are signs of life, unless the newest owner has given the run up."""

    def record(kind, epoch):
        return Record(kind, epoch, 5, 5, meta=b"another", body=b"the holder", flaw="" if kind else TORN)

    if tail is not None:
        tail = Tail(5, record(*tail[:2]), {}, NOW - timedelta(seconds=tail[2]))
    if owner is not None:
        owner = Owner(record(*owner[:2]), Found(b"", 0, {}, NOW - timedelta(seconds=owner[2])))
    assert await living_holder(Clock(), b"this", tail, owner) == ("the holder" if alive else None)
    assert await living_holder(Clock(), b"another", tail, owner) is None


def test_a_cache_holds_what_was_used_last():
    cache = RecordCache(limit=10_000)
    for number in range(10):
        cache.keep(f"{number}", Record(body=b"x" * 2000))
        cache.find("0")
    kept = [number for number in range(10) if cache.find(f"{number}") is not None]
    assert kept == [0, 7, 8, 9]
    cache.keep("large", Record(body=b"x" * 20_000))
    assert cache.find("large") is None
    cache.keep("small", Record(body=b"x"))
    cache.drop("small")
    assert cache.find("small") is None


async def test_of_requests_made_together_none_goes_on_when_one_has_failed():
    """Each holds one of a few slots until the server answers, or does not."""
    ended = []

    async def gets_no_answer():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def is_refused():
        await asyncio.sleep(0)
        raise StorageUnavailableError("refused")

    with pytest.raises(StorageUnavailableError):
        await together([gets_no_answer(), is_refused(), gets_no_answer()])
    assert ended == [True, True]
