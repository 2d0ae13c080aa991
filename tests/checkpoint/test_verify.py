"""`verify`: a sound run has no findings, and nothing that rots goes unfound."""

import msgspec
import pytest
from state_kit import (
    RUN,
    TOTALS,
    contents,
    flipped,
    new_storage,
    open_log,
    rot,
    said,
    write_base,
    write_run,
)

from kernelckpt import (
    CheckpointHook,
    FileStorage,
    MemoryStorage,
    Retention,
    Scheduler,
    Tcb,
    load,
    verify,
)
from kernelckpt.abc import Put, Remove
from kernelckpt.checkpoint.verify import FindingKind
from kernelckpt.errors import NotFoundError, StorageUnavailableError, UnsupportedVersionError
from kernelckpt.log import CheckpointInfo, LogOptions
from kernelckpt.model.kernel import KernelTotals

# what is sound


async def quick(turn):
    turn.say("done")
    turn.spend(tokens=2, cost_micros=5)
    return turn.complete("quick")


async def slow(turn):
    turn.set_state(turn.number)
    if turn.number == 1:
        return turn.join(*(turn.spawn("quick", goal=str(index)) for index in range(5)))
    if turn.number == 2:
        return turn.ask_approval("go", "Go on?")
    return turn.wait_for_message()


async def test_what_a_kernel_writes_is_sound_at_every_checkpoint():
    storage = MemoryStorage()
    options = LogOptions(base_max_entries=10)
    hook = CheckpointHook(storage, log=options, retention=Retention(keep_all=True))
    async with Scheduler({"quick": quick, "slow": slow}, run_id=RUN, hooks=[hook]) as kernel:
        for name in ("one", "two", "three"):
            await kernel.submit("slow", task_id=name)
            await kernel.idle()
        await kernel.approve("one", "go")
        await kernel.idle()
        await kernel.cancel("two")
        newest: CheckpointInfo = await hook.checkpoint()
    for at in range(1, newest.sequence + 1):
        assert (await verify(storage, RUN, at)).findings == ()
    report = await verify(storage, RUN)
    assert (report.sequence, report.checkpoints) == (newest.sequence, newest.sequence)
    assert (report.tasks, report.live) == (18, 2)
    assert (report.total_tokens, report.cost_micros) == (30, 75)
    assert (report.turn, report.messages) == (22, 15)
    assert report.records > 18
    assert report.bytes_read > 1000


async def test_nothing_was_saved_yet():
    _, storage = new_storage()
    await storage.acquire(RUN, "a test")
    report = await verify(storage, RUN)
    assert report.ok
    assert (report.sequence, report.notes) == (0, ("nothing was saved yet",))


# damage


async def three_checkpoints(storage, *, base: bool = False):
    await write_run(
        storage,
        [Put(TOTALS, KernelTotals()), Put(("task", "a", 0), Tcb("a")), said("one", 0)],
        [said("two", 1)],
        [said("three", 2)],
    )
    if base:
        await write_base(storage, then=[said("four", 3)])


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_a_damaged_checkpoint(sequence):
    state, storage = new_storage()
    await three_checkpoints(storage)
    rot(state, sequence)
    report = await verify(storage, RUN)
    assert not report.ok
    assert report.findings[0].kind is FindingKind.DAMAGE
    assert f"entry {sequence}" in report.findings[0].text
    if sequence > 1:
        assert report.sequence == sequence - 1
        assert any(f"checkpoint {sequence - 1} is the newest whole one" in note for note in report.notes)
    else:
        assert (report.sequence, report.tasks) == (0, 0)


async def test_a_missing_checkpoint():
    state, storage = new_storage()
    await three_checkpoints(storage)
    del state.runs[RUN].entries[2]
    report = await verify(storage, RUN)
    assert [finding.kind for finding in report.findings[:1]] == [FindingKind.DAMAGE]
    assert report.sequence == 1


async def test_every_flipped_bit_is_found():
    """Whatever byte of an entry, of its metadata or of a blob rots: verification does not say "ok"."""
    state, storage = new_storage()
    await three_checkpoints(storage, base=True)
    assert (await verify(storage, RUN)).ok
    run = state.runs[RUN]
    for sequence, (info, body) in list(run.entries.items()):
        for place in range(len(body)):
            run.entries[sequence] = (info, flipped(body, place))
            assert not (await verify(storage, RUN)).ok, (sequence, place)
        for place in range(len(info.meta)):
            run.entries[sequence] = (msgspec.structs.replace(info, meta=flipped(info.meta, place)), body)
            assert not await sound(storage), (sequence, "metadata", place)
        run.entries[sequence] = (info, body)
    for name, blob in list(run.blobs.items()):
        for place in range(len(blob)):
            run.blobs[name] = flipped(blob, place)
            assert not (await verify(storage, RUN)).ok, (name, place)
        run.blobs[name] = blob
    assert (await verify(storage, RUN)).ok


async def sound(storage) -> bool:
    try:
        return (await verify(storage, RUN)).ok
    except UnsupportedVersionError:  # the flipped bit may be that of the version
        return False


async def test_damage_before_the_newest_base_is_found_too():
    state, storage = new_storage()
    await three_checkpoints(storage, base=True)
    rot(state, 1)
    report = await verify(storage, RUN)
    assert not report.ok


async def test_a_base_that_disagrees_with_the_deltas():
    _, storage = new_storage()
    await three_checkpoints(storage)
    wrong = [
        (TOTALS, KernelTotals()),
        (("task", "a", 0), Tcb("a", goal="another")),
        (("history", "a", 0), None),
    ]
    await write_base(storage, scan=wrong)
    report = await verify(storage, RUN)
    assert [str(finding) for finding in report.findings] == [
        'base 4: disagrees with the deltas before it: task["a"]'
    ]
    assert report.bases == 1


async def test_a_base_is_listed_under_the_turn_of_its_state():
    """What is staged while the base becomes durable is not in it."""

    class Busy(MemoryStorage):
        after_append = None

        async def append(self, *arguments):
            await super().append(*arguments)
            if self.after_append is not None:
                stage, self.after_append = self.after_append, None
                stage()

    storage = Busy()
    log = await open_log(storage)
    log.stage([Put(TOTALS, KernelTotals(turn=1))], 1, 1)
    storage.after_append = lambda: log.stage([Put(TOTALS, KernelTotals(turn=2))], 2, 2)
    info = await log.write_base(iter([(TOTALS, KernelTotals(turn=1))]))
    assert (info.kind, info.turn) == ("base", 1)
    assert (await verify(storage, RUN)).findings == ()
    await log.aclose()
    report = await verify(storage, RUN)
    assert (report.ok, report.turn) == (True, 2)


async def test_bases_are_compared():
    _, storage = new_storage()
    await three_checkpoints(storage, base=True)
    await write_base(storage, then=[Remove(("history", "a", 0))])
    report = await verify(storage, RUN)
    assert report.findings == ()
    assert (report.checkpoints, report.bases, report.messages) == (7, 2, 0)


async def test_a_pruned_run_is_sound(tmp_path):
    async with FileStorage(tmp_path) as storage:
        await three_checkpoints(storage, base=True)
        await write_base(storage, then=[Remove(("history", "a", 0))])
        await write_base(storage, then=[said("anew", 0)])
        log = await open_log(storage)
        assert (await log.prune(Retention(bases=1))).entries
        await log.aclose()
        report = await verify(storage, RUN)
        assert report.findings == ()
        assert (report.bases, report.messages) == (0, 1)
        assert report.checkpoints < report.sequence


async def test_damage_that_was_set_aside_is_a_note():
    state, storage = new_storage()
    await three_checkpoints(storage)
    rot(state, 3)
    log = await open_log(storage, on_corruption="fall_back")
    log.stage([said("another three", 2)], 1, 0)
    await log.flush("test")
    await log.aclose()
    report = await verify(storage, RUN)
    assert report.findings == ()
    assert report.notes == ("1 checkpoints were set aside when the run went on from an earlier one",)
    assert (report.sequence, report.checkpoints) == (4, 3)


# how it is asked


async def test_an_earlier_checkpoint():
    state, storage = new_storage()
    await three_checkpoints(storage)
    rot(state, 3)
    report = await verify(storage, RUN, 2)
    assert report.ok
    assert (report.sequence, report.checkpoints, report.messages) == (2, 2, 2)


@pytest.mark.parametrize("at", [-1, 0, 4])
async def test_no_such_checkpoint(at):
    _, storage = new_storage()
    await three_checkpoints(storage)
    with pytest.raises(NotFoundError):
        await verify(storage, RUN, at)


async def test_no_such_run():
    with pytest.raises(NotFoundError):
        await verify(MemoryStorage(), "nobody")


async def test_a_closed_storage():
    storage = MemoryStorage()
    await storage.aclose()
    with pytest.raises(StorageUnavailableError):
        await verify(storage, RUN)


async def test_nothing_is_changed_and_the_owner_may_be_alive():
    state, storage = new_storage()
    await three_checkpoints(storage, base=True)
    log = await open_log(storage)
    before = contents(state)
    assert (await verify(storage, RUN)).ok
    assert (await load(storage, RUN)).tasks
    assert contents(state) == before
    log.stage([said("five", 4)], 1, 0)
    await log.flush("test")
    await log.aclose()
    assert (await verify(storage, RUN)).messages == 5


async def test_progress_ends_with_all_steps_done():
    _, storage = new_storage()
    await three_checkpoints(storage, base=True)
    steps = []
    await verify(storage, RUN, on_progress=lambda done, count: steps.append((done, count)))
    assert steps == [(1, 2), (2, 2)]
