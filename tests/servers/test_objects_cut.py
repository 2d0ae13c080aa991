"""Object stores under cut uploads, lost answers, stops: no acknowledged entry is lost, no cut one listed."""

import asyncio
import signal

import pytest
from http_proxy import HttpProxy
from object_trial import append_under_cuts, race

from kernelckpt.errors import (
    CorruptionError,
    FencedError,
    StorageFullError,
    StorageUnavailableError,
    UnknownOutcomeError,
)
from kernelckpt.storage.objects.key import numbered
from kernelckpt.storage.objects.record import ENTRY, Record, encode
from kernelckpt.storage.objects.storage import open_objects
from kernelckpt.storage.objects.url import connect

pytestmark = pytest.mark.servers


@pytest.fixture
async def proxy(object_server):
    async with HttpProxy(object_server.port) as found:
        yield found


@pytest.fixture
async def urls(object_server, proxy):
    """Of one bucket: straight to the server, and through the proxy."""
    bucket = object_server.make_bucket()
    return object_server.url(bucket), object_server.url(bucket, proxy.port)


def is_entry(request):
    return request.kind == "PUT" and "/log/" in request.path


def on_entries(*deeds):
    """Do one deed after the other to puts into the log."""
    left = list(deeds)

    def meddle(request):
        if is_entry(request) and left:
            left.pop(0)(request)

    return meddle


def cut_at(place):
    def deed(request):
        request.cut = place if place >= 0 else len(request.head) + len(request.body) + place

    return deed


def swallow(request):
    request.swallow = True


def cut_before_body(request):
    request.cut = len(request.head)


def says(answer):
    def deed(request):
        request.answer = answer

    return deed


def passes(request):
    pass


async def contents(url):
    async with await open_objects(url) as storage:
        entries = await storage.list_entries("run")
        assert [entry.damage for entry in entries] == [""] * len(entries)
        return [await storage.read("run", entry.epoch, entry.sequence) for entry in entries]


@pytest.mark.parametrize("seed", range(3))
async def test_cut_uploads(object_server, seed):
    """Three hundred appends, most of them cut at some byte, and now and then a new owner."""
    acknowledged, cuts, wrong = await append_under_cuts(object_server, 100, seed)
    assert wrong == []
    assert min(acknowledged, cuts) > 90


async def test_races_for_a_number(object_server):
    url = object_server.url(object_server.make_bucket())
    clients = [await connect(url) for _ in range(16)]
    winners = {await race(clients, f"race/{number}") for number in range(20)}
    assert len(winners) > 1


@pytest.mark.parametrize(
    "deeds",
    [
        [swallow],
        [swallow, swallow],
        [cut_at(10)],
        [cut_before_body],
        [cut_at(-1)],
        [cut_at(-1), cut_at(-60), cut_at(-5)],
        [cut_at(-1), swallow],
        [says("409 ConditionalRequestConflict"), says("503 Slow Down"), says("500 Internal Error")],
        [says("412 Precondition Failed")],
    ],
)
@pytest.mark.parametrize("number", [1, 2])
async def test_a_doubtful_append_is_settled(urls, proxy, deeds, number):
    """The first entry replaces a placeholder, the second is created: either is there once."""
    direct, through = urls
    async with await open_objects(through) as storage:
        claim = await storage.acquire("run", "test")
        for sequence in range(1, number):
            await storage.append("run", claim.epoch, sequence, [b"before"], b"")
        proxy.meddle = on_entries(*deeds)
        await storage.append("run", claim.epoch, number, [b"in doubt"], b"")
        await storage.append("run", claim.epoch, number + 1, [b"after"], b"")
    assert (await contents(direct))[-2:] == [b"in doubt", b"after"]
    assert len(await contents(direct)) == number + 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("403 Forbidden", StorageUnavailableError),
        ("400 Bad Request", StorageUnavailableError),
        ("507 Insufficient Storage", StorageFullError),
    ],
)
async def test_a_refused_append_may_be_tried_again(urls, proxy, answer, kind):
    direct, through = urls
    async with await open_objects(through) as storage:
        claim = await storage.acquire("run", "test")
        for number in (1, 2):
            proxy.meddle = on_entries(says(answer))
            with pytest.raises(kind):
                await storage.append("run", claim.epoch, number, [b"x"], b"")
            await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
    assert await contents(direct) == [b"1", b"2"]


async def test_a_refusal_after_a_lost_answer_is_an_unknown_outcome(urls, proxy):
    """The first try may still arrive."""
    direct, through = urls
    async with await open_objects(through) as storage:
        claim = await storage.acquire("run", "test")
        proxy.meddle = on_entries(cut_before_body, says("403 Forbidden"))
        with pytest.raises(UnknownOutcomeError):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        await storage.append("run", claim.epoch, 1, [b"again"], b"")
    assert await contents(direct) == [b"again"]


@pytest.mark.parametrize("deed", [swallow, cut_at(-1), cut_before_body, says("503 Slow Down")])
@pytest.mark.parametrize("which", ["/run", "/log/", "/owner"])
@pytest.mark.parametrize("taken", [False, True])
async def test_a_doubtful_acquisition_is_settled(urls, proxy, deed, which, taken):
    direct, through = urls
    async with await open_objects(direct) as before, await open_objects(through) as storage:
        head = epoch = 0
        if taken:
            claim = await before.acquire("run", "somebody")
            head, epoch = 1, claim.epoch
            await before.append("run", epoch, 1, [b"before"], b"")
        left = [deed]

        def meddle(request):
            if (
                request.kind == "PUT"
                and which in request.path.removeprefix("/").partition("/runs/run-")[2]
                and left
            ):
                left.pop()(request)

        proxy.meddle = meddle
        claim = await storage.acquire("run", "test", takeover=taken)
        assert (claim.head, claim.epoch > epoch) == (head, True)
        assert (left == []) == (which != "/run" or not taken)
        await storage.append("run", claim.epoch, head + 1, [b"after"], b"")
    assert (await contents(direct))[-1] == b"after"


async def test_a_server_that_is_busy_once_fences_nobody(urls, proxy):
    """Neither when everything is deleted, nor when the run is."""
    _, through = urls
    async with await open_objects(through) as storage:
        for which in ("/log/", "/run"):
            claim = await storage.acquire("run", "test")
            await storage.append("run", claim.epoch, claim.head + 1, [b"x"], b"")
            left = [says("503 Slow Down")]

            def meddle(request, which=which, left=left):
                if request.kind == "PUT" and which in request.path.partition("/runs/run-")[2] and left:
                    left.pop()(request)

            if which == "/log/":
                proxy.meddle = meddle
                await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"))
                assert await storage.list_entries("run") == []
                await storage.append("run", claim.epoch, claim.head + 2, [b"y"], b"")
            else:
                await storage.release("run", claim.epoch)
                proxy.meddle = meddle
                await storage.delete_run("run")
                assert await storage.list_runs() == []
            assert left == []


async def test_no_answer_ever_is_an_unknown_outcome(urls, proxy):
    direct, through = urls
    async with await open_objects(f"{through}&timeout=1") as storage:
        claim = await storage.acquire("run", "test")

        def never(request):
            request.cut = 0

        proxy.meddle = never
        with pytest.raises(UnknownOutcomeError):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        proxy.meddle = passes
        await storage.append("run", claim.epoch, 1, [b"again"], b"")
        await storage.append("run", claim.epoch, 2, [b"more"], b"")
    assert await contents(direct) == [b"again", b"more"]


async def test_what_was_cancelled_but_arrived_counts(urls, proxy):
    """The owner looks for it before its next append, as one that timed out would."""
    direct, through = urls
    async with await open_objects(through) as storage:
        claim = await storage.acquire("run", "test")
        arrived = asyncio.Event()

        def arrives(request):
            if is_entry(request):
                request.swallow = True
                arrived.set()

        proxy.meddle = arrives
        append = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"one"], b""))
        await arrived.wait()
        while await contents(direct) == []:
            await asyncio.sleep(0)
        append.cancel()
        await asyncio.gather(append, return_exceptions=True)
        proxy.meddle = passes
        await storage.append("run", claim.epoch, 2, [b"two"], b"")
    assert await contents(direct) == [b"one", b"two"]


async def test_a_torn_tail_is_dropped_and_replaced(urls):
    direct, _ = urls
    for length in (0, 10, 60, -1):
        async with await open_objects(direct) as owner:
            claim = await owner.acquire("run", "the first")
            await owner.append("run", claim.epoch, claim.head + 1, [b"sound"], b"")
            torn = numbered(owner._owned["run"].log.folder, claim.head + 2)
            data = encode(Record(ENTRY, claim.epoch, claim.head + 2, 1, b"meta", b"cut off"))
            await owner._client.overwrite(torn, data[:length])
            listed = await owner.list_entries("run")
            assert [entry.damage for entry in listed] == [""] * (claim.head + 1)
        async with await open_objects(direct) as following:
            again = await following.acquire("run", "the next")
            assert (again.head, again.epoch > claim.epoch) == (claim.head + 1, True)
    assert await contents(direct) == [b"sound"] * 4


async def test_the_owner_replaces_what_it_finds_torn(urls):
    """Nobody else was granted the run, so what is torn there is nobody else's entry."""
    direct, _ = urls
    async with await open_objects(direct) as owner:
        claim = await owner.acquire("run", "the owner")
        await owner._client.overwrite(numbered(owner._owned["run"].log.folder, 1), b"kc")
        await owner.append("run", claim.epoch, 1, [b"one"], b"")
    assert await contents(direct) == [b"one"]


async def test_a_fenced_owner_replaces_nothing_torn(urls):
    """The torn object may be an entry of the owner that follows, in the middle of its second try."""
    direct, _ = urls
    async with await open_objects(direct) as zombie, await open_objects(direct) as owner:
        claim = await zombie.acquire("run", "the first")
        await zombie.append("run", claim.epoch, 1, [b"one"], b"")
        taken = await owner.acquire("run", "the next", takeover=True)
        await owner._client.overwrite(numbered(owner._owned["run"].log.folder, 2), b"kc")
        with pytest.raises(FencedError):
            await zombie.append("run", claim.epoch, 2, [b"void"], b"")
        await owner.append("run", taken.epoch, 2, [b"two"], b"")
    assert await contents(direct) == [b"one", b"two"]


async def test_what_is_whole_but_wrong_is_damage(urls):
    direct, _ = urls
    async with await open_objects(direct) as owner:
        claim = await owner.acquire("run", "the owner")
        for number in (1, 2, 3):
            await owner.append("run", claim.epoch, number, [b"body %d" % number], b"")
        folder = owner._owned["run"].log.folder
        changes = (lambda data: data[:-1] + b"?", lambda data: data[:-1], lambda data: b"?" + data[1:])
        for number, change in enumerate(changes, 1):
            key = numbered(folder, number)
            await owner._client.overwrite(key, change((await owner._client.get(key)).data))
    async with await open_objects(direct) as reader:
        listed = await reader.list_entries("run")
        assert [(entry.sequence, bool(entry.damage)) for entry in listed] == [(1, True), (2, True), (3, True)]
        for entry in listed:
            with pytest.raises(CorruptionError):
                await reader.read("run", entry.epoch, entry.sequence)
        again = await reader.acquire("run", "the next")
        assert (again.head, again.epoch > claim.epoch) == (3, True)


async def test_a_server_that_stops_for_a_while(object_server):
    """What it answers after it goes on is settled; what was acknowledged before is there."""
    url = object_server.url(object_server.make_bucket())
    async with await open_objects(f"{url}&timeout=0.5") as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"before"], b"")
        object_server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(UnknownOutcomeError):
                await storage.append("run", claim.epoch, 2, [b"meanwhile"], b"")
        finally:
            object_server.process.send_signal(signal.SIGCONT)
        again = await storage.acquire("run", "test")
        await storage.append("run", again.epoch, again.head + 1, [b"after"], b"")
    found = await contents(url)
    assert (found[0], found[-1], len(found)) == (b"before", b"after", again.head + 1)


@pytest.mark.parametrize("deeds", [[swallow], [cut_at(20)], [cut_at(-3)], [cut_at(-3), swallow]])
async def test_a_doubtful_post_is_settled(urls, proxy, deeds):
    direct, through = urls
    left = list(deeds)

    def meddle(request):
        if request.kind == "PUT" and "/inbox/" in request.path and left:
            left.pop(0)(request)

    async with await open_objects(through) as storage:
        await storage.acquire("run", "the owner")
        await storage.post("run", "before", b"0")
        proxy.meddle = meddle
        assert await storage.post("run", "m", b"1") is True
        assert await storage.post("run", "m", b"1") is False
    async with await open_objects(direct) as reader:
        assert [message.data for message in await reader.posted("run")] == [b"0", b"1"]


async def test_a_post_that_arrives_late_counts_once(urls, proxy):
    """The poster gave up waiting and found nothing; it arrives before the second try looks at the inbox."""
    direct, through = urls
    given_up, late = asyncio.Event(), []

    def meddle(request):
        if "inbox" not in request.path:
            return
        if request.kind == "PUT" and not late:
            late.append(request)
            request.hold = given_up
        elif request.kind == "LIST" and late:
            given_up.set()
            request.hold = late[0].answered

    async with await open_objects(f"{through}&timeout=1") as storage:
        await storage.acquire("run", "the owner")
        proxy.meddle = meddle
        assert await storage.post("run", "m", b"1") is True
        assert await storage.post("run", "m", b"1") is False
    async with await open_objects(direct) as reader:
        assert [message.data for message in await reader.posted("run")] == [b"1"]


@pytest.mark.parametrize("number", [1, 2])
async def test_an_append_that_arrives_late_counts_once(urls, proxy, number):
    """The owner gave up waiting and found nothing; it arrives together with the second try."""
    direct, through = urls
    given_up, late = asyncio.Event(), []

    def meddle(request):
        if is_entry(request) and not late:
            late.append(request)
            request.hold = given_up
        elif is_entry(request) and not given_up.is_set():
            given_up.set()
            request.hold = late[0].answered

    async with await open_objects(f"{through}&timeout=1") as storage:
        claim = await storage.acquire("run", "the owner")
        for before in range(1, number):
            await storage.append("run", claim.epoch, before, [b"before"], b"")
        proxy.meddle = meddle
        await storage.append("run", claim.epoch, number, [b"late"], b"")
        await storage.append("run", claim.epoch, number + 1, [b"after"], b"")
        assert len(late) == 1
    assert (await contents(direct))[-2:] == [b"late", b"after"]


async def test_a_blob_whose_last_answer_was_lost_is_there(urls, proxy):
    direct, through = urls
    left = [swallow, says("404 Not Found")]

    def meddle(request):
        if request.method == "POST" and "uploadId" in request.path and left:
            left.pop(0)(request)

    async with await open_objects(through) as storage:
        claim = await storage.acquire("run", "the owner")
        proxy.meddle = meddle
        for index in range(2):
            await storage.write_part("run", claim.epoch, "b", index, [b"x" * 8_000_000])
        info = await storage.finish_blob("run", claim.epoch, "b")
        assert (info.size, left) == (16_000_000, [])
    async with await open_objects(direct) as reader:
        assert list(await reader.list_blobs("run")) == [info]


async def test_a_cut_part_of_a_blob_is_sent_again(urls, proxy):
    direct, through = urls
    left = [cut_at(2_000_000), swallow, cut_at(-1)]

    def meddle(request):
        if "/blob/" in request.path and request.kind in {"PUT", "POST"} and left:
            left.pop(0)(request)

    async with await open_objects(through) as storage:
        claim = await storage.acquire("run", "the owner")
        proxy.meddle = meddle
        for index in range(3):
            await storage.write_part("run", claim.epoch, "b", index, [bytes([index]) * 6_000_000])
        await storage.finish_blob("run", claim.epoch, "b")
        assert left == []
    async with await open_objects(direct) as reader:
        data = await reader.read_blob("run", "b")
        assert data == b"".join(bytes([index]) * 6_000_000 for index in range(3))
