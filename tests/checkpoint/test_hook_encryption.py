"""Encrypted kernels: the hook, load, verify and rekey with keys, and what never shows."""

import logging
import traceback

import pytest

from kernelckpt import (
    CheckpointHook,
    FileStorage,
    KeyRing,
    LogOptions,
    MemoryStorage,
    Message,
    Scheduler,
    load,
    rekey,
    verify,
)
from kernelckpt.errors import EncryptionError, KernelCkptError, PlaintextError, UnknownKeyError
from kernelckpt.testing import ManualClock

KEYS = {"k1": bytes(range(32)), "k2": bytes(range(32, 64))}


def canary(number):
    return f"canary-{number:04d}-in-a-mine"


async def talk(turn):
    """Puts canaries wherever a program can put text."""
    base = turn.number * 100
    turn.set_state({canary(base): canary(base + 1)})
    turn.say(canary(base + 2))
    turn.append(Message.user(canary(base + 3)))
    turn.plan([canary(base + 4)])
    turn.progress(canary(base + 5))
    turn.directive(canary(base + 6))
    await turn.effect(echo, canary(base + 7))
    if turn.number == 2:
        return turn.ask_approval(canary(base + 8), canary(base + 9), {"payload": canary(base + 10)})
    if turn.number == 3:
        return turn.complete(canary(base + 11))
    return None


async def echo(text):
    return [text]


async def live(storage, *, keys, answers=0, **options):
    """Begin the run, or go on with it."""
    hook = CheckpointHook(storage, every=None, owner_wait=0, keys=keys, **options)
    async with Scheduler({"talk": talk}, run_id="run", hooks=[hook], clock=ManualClock()) as kernel:
        await kernel.submit("talk", task_id="t", goal=canary(1), input={"in": canary(2)})
        await kernel.idle()
        for _ in range(answers):
            await kernel.send("t", canary(3))
            await kernel.approve("t", canary(208), by=canary(4))
            await kernel.idle()
        return kernel.snapshot()


@pytest.mark.parametrize("compression", [None, 3])
async def test_a_kernel_goes_on_from_an_encrypted_run_and_no_file_shows_anything(tmp_path, compression):
    options = LogOptions(base_min_bytes=1)
    async with FileStorage(tmp_path / "state") as storage:
        await live(storage, keys=KeyRing(KEYS), compression=compression, log=options)
        ended = await live(storage, keys=KeyRing(KEYS, "k2"), answers=1, compression=compression, log=options)
        assert await load(storage, "run", keys=KeyRing(KEYS)) == ended
        report = await verify(storage, "run", keys=KeyRing(KEYS), all_checkpoints=True)
        assert report.findings == ()
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"canary" in data or b"mine" in data for data in stored)
    assert "canary-0311" in ended.to_json()


async def test_the_same_run_without_keys_does_show_it(tmp_path):
    """The test above could fail."""
    async with FileStorage(tmp_path / "state") as storage:
        await live(storage, keys=None)
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"canary-0001-in-a-mine" in data for data in stored)


@pytest.mark.parametrize("wrong", [None, {"k2": KEYS["k2"]}, {"k1": KEYS["k2"]}], ids=["none", "k2", "other"])
async def test_a_start_with_wrong_keys_is_refused_and_changes_nothing(tmp_path, wrong):
    async with FileStorage(tmp_path / "state") as storage:
        before = await live(storage, keys=KeyRing(KEYS))
        ring = KeyRing(wrong) if wrong else None
        for choice in ("refuse", "fall_back"):
            with pytest.raises(UnknownKeyError, match="'k1'"):
                await live(storage, keys=ring, on_corruption=choice)
        with pytest.raises(UnknownKeyError):
            await load(storage, "run", keys=ring)
        with pytest.raises(UnknownKeyError):
            await verify(storage, "run", keys=ring)
        assert await load(storage, "run", keys=KeyRing(KEYS)) == before


async def test_a_key_never_opens_what_nobody_encrypted():
    storage = MemoryStorage()
    before = await live(storage, keys=None)
    for attempt in (
        live(storage, keys=KeyRing(KEYS)),
        load(storage, "run", keys=KeyRing(KEYS)),
        rekey(storage, "run", KeyRing(KEYS)),
    ):
        with pytest.raises(PlaintextError):
            await attempt
    assert await load(storage, "run") == before


async def test_rekeying_keeps_the_state_and_needs_only_the_new_key():
    storage = MemoryStorage()
    before = await live(storage, keys=None)
    report = await rekey(storage, "run", KeyRing(KEYS, accept_plaintext=True), compression=3)
    assert (report.checkpoint.key, report.key_ids) == ("k1", ("k1",))
    report = await rekey(storage, "run", KeyRing(KEYS, "k2"))
    assert report.key_ids == ("k2",)
    only = KeyRing({"k2": KEYS["k2"]})
    assert await load(storage, "run", keys=only) == before
    assert (await verify(storage, "run", keys=only)).findings == ()
    ended = await live(storage, keys=only, answers=1)
    assert ended.tasks[0].state.is_terminal()


async def test_a_rotation_while_the_kernel_lives_takes_effect_with_the_next_checkpoint():
    storage, ring = MemoryStorage(), KeyRing({"k1": KEYS["k1"]})
    hook = CheckpointHook(storage, every=None, keys=ring)
    async with Scheduler({"talk": talk}, run_id="run", hooks=[hook], clock=ManualClock()) as kernel:
        await kernel.submit("talk", task_id="t")
        await kernel.idle()
        assert (await hook.checkpoint()).key == "k1"
        ring.add("k2", KEYS["k2"])
        ring.use("k2")
        await kernel.approve("t", canary(208))
        await kernel.idle()
        assert (await hook.checkpoint()).key == "k2"
    with pytest.raises(EncryptionError, match="'k2'"):
        await load(storage, "run", keys=KeyRing({"k1": KEYS["k1"]}))


async def test_errors_and_logs_show_nothing_of_the_state(tmp_path, caplog):
    """Whatever is damaged, what is raised names the place and not what is there."""
    caplog.set_level(logging.DEBUG)
    async with FileStorage(tmp_path / "state") as storage:
        await live(storage, keys=None, log=LogOptions(base_min_bytes=1))
    raised = []
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 40)):
            path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x20,)) + whole[at + 1 :])
            async with FileStorage(tmp_path / "state") as storage:
                for attempt in (load(storage, "run"), verify(storage, "run")):
                    try:
                        raised.append(str(getattr(await attempt, "findings", "")))
                    except KernelCkptError as error:
                        raised.append("".join(traceback.format_exception(error)))
        path.write_bytes(whole)
    assert sum("Error" in text for text in raised) > 50
    assert not [text for text in raised if "canary" in text]
    assert "canary" not in caplog.text
