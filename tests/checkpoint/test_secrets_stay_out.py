"""Of a thousand secrets planted through every entrance of a kernel, none is found wherever it writes."""

import base64
import tempfile

import pytest
from canary_kit import REDACTION, Scene, canaries_in, debug_logs

from kernelckpt import (
    CheckpointHook,
    ContextConfig,
    FileStorage,
    LogOptions,
    Retention,
    Scheduler,
    load,
    verify,
)
from kernelckpt.checkpoint.prune import prune
from kernelckpt.testing import ManualClock

CONTEXT = ContextConfig(spool_threshold_bytes=600, spool_preview_bytes=100)


class Found:
    """What was found where."""

    def __init__(self, folder):
        self._folder = folder
        self.places = {
            name: set() for name in ("files", "snapshots", "events", "errors", "logs", "temporary")
        }

    def look(self, name, data):
        self.places[name] |= canaries_in(data)

    def look_at_files(self):
        for path in self._folder.rglob("*"):
            if path.is_file():
                name = "temporary" if "temporary" in path.parts else "files"
                self.look(name, path.read_bytes())
                self.look(name, str(path))


async def live(storage, scene, found, redaction, *, answers):
    """One life of the kernel: begin or go on, answer so many times, stop; the last snapshot."""
    hook = CheckpointHook(
        storage,
        every=None,
        owner_wait=0,
        retention=Retention(bases=1),
        log=LogOptions(base_min_bytes=2000, base_factor=0.5),
    )
    kernel = Scheduler(
        scene.programs,
        run_id="run",
        hooks=[hook],
        tools=scene.tools,
        governance=scene.governance,
        closures=scene.closures,
        context=CONTEXT,
        redaction=redaction,
        clock=ManualClock(),
    )
    events = []

    async def watch():
        async for event in kernel.events():
            events.append(event)

    async with kernel:
        kernel.start_soon(watch)
        if kernel.restored is None:
            await scene.submit(kernel)
        for _ in range(answers):
            await kernel.idle()
            found.look("snapshots", kernel.snapshot().to_json())
            found.look_at_files()
            if not await scene.answer(kernel):
                break
        await kernel.idle()
        await scene.misuse(kernel)
        if "wait" in [row.id for row in kernel.tasks if not row.state.is_terminal()]:
            await kernel.cancel("wait", scene.plant())
        await hook.checkpoint()
        last = kernel.snapshot()
        found.look("snapshots", last.to_json())
        found.look("snapshots", repr(kernel.restored))
    for event in events:
        found.look("events", repr(event))
    assert {"draft", "ended", "rolled_back", "waiting"} <= {event.kind for event in events} or answers < 9
    return last


async def whole_run(folder, redaction, caplog, monkeypatch):
    """Two lives of a run with bases and prunings; what was found, and the scene."""
    debug_logs(caplog)
    (folder / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    scene, found = Scene(), Found(folder)
    async with FileStorage(folder / "state") as storage:
        for answers in (9, 40):
            last = await live(storage, scene, found, redaction, answers=answers)
            assert (await load(storage, "run")).to_json() == last.to_json(), "live and kept are the same"
            found.look_at_files()
        assert last.tasks[0].state.is_terminal()
        report = await verify(storage, "run", all_checkpoints=True)
        assert report.findings == ()
        found.look("errors", repr(report))
        pruned = await prune(storage, "run", retention=Retention(bases=1))
        found.look("errors", repr(pruned))
        found.look_at_files()
    for text in scene.errors:
        found.look("errors", text)
    found.look("logs", caplog.text)
    return scene, found


async def test_of_a_thousand_secrets_none_is_found(tmp_path, caplog, monkeypatch):
    scene, found = await whole_run(tmp_path, REDACTION, caplog, monkeypatch)
    assert len(scene.plant.planted) >= 1000
    assert len(scene.errors) >= 60
    assert found.places == {name: set() for name in found.places}


async def test_without_a_redaction_they_are_found(tmp_path, caplog, monkeypatch):
    """The test above could fail."""
    scene, found = await whole_run(tmp_path, None, caplog, monkeypatch)
    planted = set().union(*map(canaries_in, scene.plant.planted))
    assert len(planted & found.places["files"]) >= 900
    assert len(planted & found.places["snapshots"]) >= 600
    assert len(planted & found.places["events"]) >= 50
    assert len(planted & found.places["errors"]) >= 50


@pytest.mark.parametrize("text", ["x canary-0001-in-a-mine", 'y Zebra/0001 "quoted"'])
def test_the_search_finds_canaries_in_base64_wherever_they_begin(text):
    for shift in range(3):
        assert canaries_in(base64.b64encode(b"_" * shift + text.encode()))
    assert not canaries_in(base64.b64encode(b"nothing of the kind"))
