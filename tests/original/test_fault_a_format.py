"""Faults of the original's format, each shown not to be repeated."""

import asyncio
import stat
from copy import deepcopy

import msgpack
import pytest
from original_kit import RUN, Memory, kernel_of, listen, row, row_record, wait, written

from kernelckpt import (
    CheckpointHook,
    Context,
    ContextSnapshot,
    FileStorage,
    KernelSnapshot,
    Message,
    Plan,
    PlanStep,
    Tcb,
    ToolCall,
    load,
)
from kernelckpt.codec import version
from kernelckpt.errors import (
    CorruptionError,
    DecodeError,
    InvalidValueError,
    KernelCkptError,
    UnsupportedVersionError,
)
from kernelckpt.log import list_checkpoints
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.process import AgentRole
from kernelckpt.model.run_spec import AgentRunSpec

LISTEN = {"listen": listen}
SPEC = AgentRunSpec.new(AgentIdentity.new("agent", "session"), AgentRole.PLAN, "build")


async def say(storage, *texts, **settings):
    """Send these to a listener, one checkpoint each at least; its history."""
    hook = CheckpointHook(storage, every=None, owner_wait=0, **settings)
    async with kernel_of(storage, LISTEN, hook=hook) as kernel:
        await kernel.submit("listen", task_id="l")
        for text in texts:
            await kernel.send("l", text)
            await kernel.idle()
        return [message.text for message in kernel.context("l").history]


def form_of(*rows, **more):
    return KernelSnapshot.from_state(0, 0, rows, more.pop("context", ContextSnapshot()), **more).to_dict()


async def test_a1_a_run_says_its_format_and_version_and_another_one_is_refused(monkeypatch):
    memory = Memory()
    await say(memory.storage, "hello")
    for _, body in memory.entries.values():
        unpacker = msgpack.Unpacker()
        unpacker.feed(body)
        assert unpacker.unpack()[:2] == [version.FORMAT, version.FORMAT_VERSION]
    for known in (version.FORMAT_VERSION - 1, version.FORMAT_VERSION + 1):
        monkeypatch.setattr(version, "FORMAT_VERSION", known)
        with pytest.raises(UnsupportedVersionError) as caught:
            await load(memory.storage, RUN)
        assert caught.value.hint


async def test_a2_a_flipped_bit_anywhere_is_never_loaded():
    memory = Memory()
    await say(memory.storage, "hello")
    sound = await load(memory.storage, RUN)
    for sequence, (_, body) in memory.crashed().entries.items():
        for place in range(len(body)):
            copy = memory.crashed()
            copy.flip(sequence, place)
            with pytest.raises(KernelCkptError):
                await load(copy.storage, RUN)
    assert await load(memory.storage, RUN) == sound


def spoil_newest(folder):
    """Damage what was written last, as a failing disk would."""
    segment = max(folder.glob(f"{RUN}*/seg.*"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(segment.read_bytes())
    data[-30] ^= 1
    segment.write_bytes(data)


async def test_a3_a_damaged_newest_checkpoint_is_refused_or_left_for_the_one_before_and_this_is_said(
    tmp_path,
):
    async with FileStorage(tmp_path / "state") as storage:
        assert await say(storage, "a", "b", "c") == ["a", "b", "c"]
    await asyncio.to_thread(spoil_newest, tmp_path / "state")
    async with FileStorage(tmp_path / "state") as storage:
        with pytest.raises(CorruptionError) as caught:
            await say(storage, "d")
        assert caught.value.lost
        hook = CheckpointHook(storage, every=None, owner_wait=0, on_corruption="fall_back")
        async with kernel_of(storage, LISTEN, hook=hook) as kernel:
            assert [message.text for message in kernel.context("l").history][:2] == ["a", "b"]
            assert any("damaged" in note for note in kernel.restored.notes)


async def test_a4_a_field_that_nobody_knows_is_refused_and_named():
    form = form_of(row("root"))
    form["tasks"][0]["colour"] = "green"
    with pytest.raises(DecodeError) as caught:
        KernelSnapshot.from_dict(form)
    assert caught.value.path == "tasks[0].colour"
    memory = await written((("task", "root", 0), {"id": "root", "colour": "green"}))
    with pytest.raises(DecodeError, match="colour"):
        async with kernel_of(memory.storage, {}):
            pytest.fail("started")


async def test_a5_specification_and_plan_are_objects_and_what_cannot_be_read_is_named():
    plan = Plan("goal", plan=(PlanStep("a", done=True), PlanStep("b")))
    form = form_of(row("root"), run_spec=SPEC, context=ContextSnapshot.from_context(Context(plan=plan)))
    assert form["run_spec"]["identity"]["agent_id"] == "agent"
    assert [step["label"] for step in form["context"]["plan"]["plan"]] == ["a", "b"]
    again = KernelSnapshot.from_dict(deepcopy(form))
    assert (again.run_spec(), again.context.whole_plan()) == (SPEC, plan)
    for field in ("task_plan", "plan"):
        spoilt = deepcopy(form)
        spoilt["context"][field] = "[not json"
        with pytest.raises(DecodeError) as caught:
            KernelSnapshot.from_dict(spoilt)
        assert caught.value.path == f"context.{field}"


@pytest.mark.parametrize("text", ["{", "no json", '{"role": "plan"}', "[]"])
async def test_a6_a_specification_that_cannot_be_read_is_refused(text):
    form = form_of(row("root"), run_spec=SPEC)
    form["run_spec"] = text
    with pytest.raises(DecodeError) as caught:
        KernelSnapshot.from_dict(form)
    assert caught.value.path.startswith("run_spec")


def nested(depth):
    value = "end"
    for _ in range(depth):
        value = {"in": value}
    return value


async def test_a7_what_is_accepted_live_is_read_again_and_the_rest_is_refused_at_once():
    accepted = []
    for depth in (1, 100, 120, 121, 122, 123, 126, 127, 128, 129, 300):
        memory = Memory()
        message = Message.assistant("", [ToolCall("c", "tool", nested(depth))])
        async with kernel_of(memory.storage, {"wait": wait}) as kernel:
            try:
                await kernel.submit("wait", task_id="root", messages=[message])
            except InvalidValueError:
                continue
            live = kernel.snapshot()
        accepted.append(depth)
        assert (await load(memory.storage, RUN)).context.history_messages == (message,)
        assert KernelSnapshot.from_json(live.to_json()) == live
        async with kernel_of(memory.storage, {"wait": wait}) as kernel:
            assert list(kernel.context("root").history) == [message]
    assert 122 in accepted
    assert 300 not in accepted


async def test_a8_checkpoints_are_numbered_dated_and_matched_to_owner_and_turn():
    memory = Memory()
    await say(memory.storage, "a", "b")
    await say(memory.storage, "c")
    found = await list_checkpoints(memory.storage, RUN)
    assert [info.sequence for info in found] == list(range(1, len(found) + 1))
    assert [info.epoch for info in found] == sorted(info.epoch for info in found)
    assert {info.epoch for info in found} == {1, 2}
    assert [info.turn for info in found] == sorted(info.turn for info in found)
    assert all(info.wall_ms > 0 for info in found)
    for info in found:
        assert (await load(memory.storage, RUN, info.sequence)).turn == info.turn


async def test_a9_nobody_else_can_read_a_folder_and_sizes_are_bounded(tmp_path):
    folder = tmp_path / "state"
    async with FileStorage(folder) as storage:
        await say(storage, "a secret")
        found = await asyncio.to_thread(lambda: [folder, *folder.rglob("*")])
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in found} == {0}
    huge = "x" * (64 * 1024 * 1024)
    with pytest.raises(KernelCkptError, match="bytes"):
        await say(Memory().storage, huge)


async def test_a10_an_unknown_label_is_named_with_its_place():
    form = form_of(row("root"), Tcb("child", "root"))
    form["tasks"][1]["state"] = "paused"
    with pytest.raises(DecodeError) as caught:
        KernelSnapshot.from_dict(form)
    assert caught.value.path == "tasks[1].state"
    memory = await written(
        row_record(row("root")), (("task", "child", 0), {"id": "child", "state": {"kind": "paused"}})
    )
    with pytest.raises(DecodeError) as caught:
        await load(memory.storage, RUN)
    assert caught.value.path == 'task["child"].state.kind'
    assert "paused" in str(caught.value)
