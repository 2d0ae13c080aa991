"""Storage URLs: what they name, and what a wrong one is answered."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from kernelckpt.errors import StorageUnavailableError, StorageUrlError
from kernelckpt.storage import FileStorage, MemoryStorage, open_storage, url
from kernelckpt.storage.url import file_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:./state", "./state"),
        ("file:state", "state"),
        ("file:../a/b", "../a/b"),
        ("file:/var/state", "/var/state"),
        ("file:///var/state", "/var/state"),
        ("file://localhost/var/state", "/var/state"),
        ("file:/a%20b/%C3%A9%25%3F%23", "/a b/é%?#"),
        ("file:/a b/é", "/a b/é"),
        ("file:c:/state", "c:/state"),
        ("file:/not\udcffutf-8", "/not\udcffutf-8"),  # how a byte of a command line that is no UTF-8 is read
    ],
)
def test_what_a_file_url_names(text, path):
    assert file_path(text) == path


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("file:", "file:./folder"),
        ("file://", "file:./folder"),
        ("file://server/share", "file:./folder"),
        ("file://state", "file:./folder"),
        ("file:/a?mode=ro", "%3F"),
        ("file:/a#b", "%23"),
        ("file:/100%", "%25"),
        ("file:/a%zz", "%25"),
        ("file:/a%00b", "file:./folder"),
        ("file:~/state", "absolute"),
        ("file:/\ud800", "file:./folder"),
        ("./state", "file:./folder"),
        ("", "file:./folder"),
        ("nosuch://bucket/key", "install"),
        ("FILE:/x", "install"),
    ],
)
async def test_a_wrong_url_names_the_remedy(text, hint):
    with pytest.raises(StorageUrlError, match=hint) as caught:
        await open_storage(text)
    assert hint in caught.value.hint


async def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(StorageUrlError, match="file:, gs:, memory:"):
        await open_storage("nosuch:thing")


async def test_file_urls_open_folders(tmp_path):
    target = tmp_path / "with space" / "é%?#"
    async with open_storage(FileStorage(target).name) as storage:
        assert isinstance(storage, FileStorage)
        assert storage.path == str(target)
        assert storage.durable
        await storage.acquire("run", "test")
    assert (target / "kernelckpt").exists()


async def test_awaiting_opens_too(tmp_path):
    storage = await open_storage(f"file:{tmp_path}")
    await storage.aclose()
    with pytest.raises(StorageUnavailableError, match="closed"):
        await storage.list_runs()


async def test_memory_urls_share_by_name():
    async with (
        open_storage("memory:test-url") as one,
        open_storage("memory:test-url") as two,
        open_storage("memory:") as three,
        open_storage("memory:") as four,
    ):
        assert isinstance(one, MemoryStorage)
        assert (one.name, one.durable) == ("memory:test-url", False)
        await one.acquire("run", "test")
        await three.acquire("alone", "test")
        assert list(await two.list_runs()) == ["run"]
        assert list(await four.list_runs()) == []


async def open_third_party(text):
    return MemoryStorage(name=text)


async def test_installed_packages_add_schemes(monkeypatch):
    point = EntryPoint("third", f"{__name__}:open_third_party", url.GROUP)
    monkeypatch.setattr(url, "entry_points", lambda group: EntryPoints([point]).select(group=group))
    async with open_storage("third:place") as storage:
        assert storage.name == "memory:third:place"
    async with open_storage("memory:") as storage:
        assert isinstance(storage, MemoryStorage)
