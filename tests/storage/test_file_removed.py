"""Folders and owner files moved or removed under a living owner: nothing is acknowledged into nowhere."""

import shutil

import pytest

from kernelckpt.errors import CorruptionError, FencedError, StorageUnavailableError


async def owner(folder, *bodies):
    storage = folder.client()
    claim = await storage.acquire("run", "first")
    for number, body in enumerate(bodies, 1):
        await storage.append("run", claim.epoch, number, [body], b"")
    return storage


@pytest.mark.parametrize("whole", [True, False])
async def test_a_folder_that_is_moved_away_is_gone_on_with_when_it_is_back(folder, tmp_path, whole):
    storage = await owner(folder, b"one")
    place, elsewhere = folder.path if whole else folder.run, tmp_path / "elsewhere"
    place.rename(elsewhere)
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match=str(folder.run)) as caught:
            await storage.append("run", 1, 2, [b"two"], b"")
        assert "put it back" in caught.value.hint
    elsewhere.rename(place)
    await storage.append("run", 1, 2, [b"two"], b"")
    assert await folder.contents() == [b"one", b"two"]


async def test_nothing_is_acknowledged_into_a_folder_that_somebody_made_anew(folder):
    """The new folder has an owner of the same epoch: it is the file that tells them apart."""
    storage = await owner(folder, b"one")
    shutil.rmtree(folder.path)
    second = folder.client()
    assert (await second.acquire("run", "second")).epoch == 1
    await second.append("run", 1, 1, [b"anew"], b"")
    with pytest.raises(FencedError, match=r"owner\.1"):
        await storage.append("run", 1, 2, [b"lost"], b"")
    with pytest.raises(FencedError):
        await storage.delete("run", 1, entries=await storage.list_entries("run"))
    await second.append("run", 1, 2, [b"two"], b"")
    assert await folder.contents() == [b"anew", b"two"]


async def test_an_owner_whose_file_was_removed_acknowledges_nothing_more(folder):
    storage = await owner(folder, b"one")
    path = folder.run / "owner.1"
    kept = path.read_bytes()
    path.unlink()
    for _ in range(2):
        with pytest.raises(FencedError, match=r"owner\.1 was removed"):
            await storage.append("run", 1, 2, [b"two"], b"")
    with pytest.raises(CorruptionError, match=r"owner\.1: missing"):
        await folder.client().acquire("run", "second")
    path.write_bytes(kept)
    await folder.client().acquire("run", "second")
    assert (await folder.contents())[0] == b"one"


async def test_removing_the_file_of_a_living_owner_does_not_make_two_of_them(folder):
    storage = await owner(folder)
    (folder.run / "owner.1").unlink()
    second = folder.client()
    assert (await second.acquire("run", "second")).epoch == 1
    with pytest.raises(FencedError, match=r"owner\.1 is not the file"):
        await storage.append("run", 1, 1, [b"of the first"], b"")
    await second.post("run", "message", b"the second is alive")
