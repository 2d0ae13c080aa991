"""Object stores that are refused when they are opened, and what is said."""

import pytest
from http_proxy import HttpProxy
from object_server import ENVIRONMENT
from server_process import free_port

from kernelckpt.errors import StorageError, StorageUnavailableError, StorageUrlError
from kernelckpt.storage import open_storage
from kernelckpt.storage.objects.storage import open_objects

pytestmark = pytest.mark.servers


async def opened_through(object_server, meddle):
    bucket = object_server.make_bucket()
    async with HttpProxy(object_server.port) as proxy:
        proxy.meddle = meddle
        await (await open_objects(object_server.url(bucket, proxy.port))).aclose()


async def test_through_the_proxy_it_opens(object_server):
    await opened_through(object_server, lambda request: None)


@pytest.mark.parametrize("answer", ["503 Slow Down", "500 Internal Error", "409 ConditionalRequestConflict"])
@pytest.mark.parametrize("which", range(8))
async def test_a_server_that_fails_once_is_not_refused(object_server, which, answer):
    """Only the conditional puts may get a conflict; the first three have no condition."""
    left = list(range(which + 1))

    def fails(request):
        if request.kind == "PUT" and left and not left.pop():
            request.answer = answer

    def conflicts(request):
        if b"if-none-match" in request.head.lower() or b"if-match" in request.head.lower():
            fails(request)

    await opened_through(object_server, conflicts if answer.startswith("409") else fails)


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
async def test_a_server_that_ignores_a_condition_is_refused(object_server, header):
    with pytest.raises(StorageUnavailableError, match=f"honour conditional writes: {header}"):
        await opened_through(object_server, lambda request: request.drop_header(header))


async def test_a_server_that_refuses_a_right_condition_is_refused(object_server):
    def another(request):
        request.head = request.head.replace(b'if-match: "', b'if-match: "0')

    with pytest.raises(StorageUnavailableError, match="not replaced although it was the one"):
        await opened_through(object_server, another)


async def test_a_server_that_names_an_object_otherwise_when_it_is_read_is_refused(object_server):
    def otherwise(request):
        if request.method == "GET":
            request.translate = lambda head: head.replace(b'ETag: "', b'ETag: W/"').replace(
                b'etag: "', b'etag: W/"'
            )

    with pytest.raises(StorageUnavailableError, match="ETag"):
        await opened_through(object_server, otherwise)


async def test_a_server_that_lists_nothing_after_a_key_is_refused(object_server):
    def misunderstood(request):
        request.head = request.head.replace(b"start-after=", b"start-after=~")

    with pytest.raises(StorageUnavailableError, match="of 2 objects after a key the server lists 0"):
        await opened_through(object_server, misunderstood)


async def test_a_server_that_ignores_the_key_is_not(object_server):
    def ignored(request):
        request.head = request.head.replace(b"start-after=", b"x-start-after=")

    await opened_through(object_server, ignored)


async def test_probes_leave_nothing_behind(object_server):
    bucket = object_server.make_bucket()
    async with await open_objects(object_server.url(bucket)) as storage:
        assert await storage._client.page("probe") == []


async def test_a_missing_bucket(object_server):
    with pytest.raises(StorageUnavailableError, match="the bucket does not exist"):
        await open_objects(object_server.url("no-such-bucket"))


async def test_an_unreachable_endpoint():
    url = f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}&timeout=1"
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_objects(url)
    assert "endpoint" in refusal.value.hint


async def test_no_word_of_credentials(azurite_server, monkeypatch):
    bucket = azurite_server.make_bucket()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    with pytest.raises(StorageUnavailableError) as refusal:
        await open_objects(azurite_server.url(bucket))
    assert "credentials" in refusal.value.hint
    assert "d3Jvbmc" not in str(refusal.value)


async def test_a_name_without_credentials(object_server):
    async with await open_storage(object_server.url(object_server.make_bucket())) as storage:
        assert storage.durable
        assert [note.partition("http://")[0] for note in storage.notes] == ["", "what is written to "]
        for secret in ENVIRONMENT.values():
            assert secret not in f"{storage.name} {storage!r}" or secret == "us-east-1"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "names no bucket"),
        ("s3://bucket/a//b", "names no bucket"),
        ("s3://bucket/a#b", "names no bucket"),
        ("s3://bucket?regoin=x", "no option 'regoin'"),
        ("gs://bucket?region=x", "no option 'region'"),
        ("s3://bucket?timeout=soon", "no number of seconds"),
        ("s3://key:secret@bucket", "credentials come from the environment"),
    ],
)
async def test_urls_that_name_nothing(url, said):
    with pytest.raises(StorageUrlError, match=said) as refusal:
        await open_objects(url)
    assert "secret" not in str(refusal.value)


async def test_closed(object_server):
    storage = await open_objects(object_server.url(object_server.make_bucket()))
    await storage.aclose()
    with pytest.raises(StorageError, match="is closed"):
        await storage.list_runs()
