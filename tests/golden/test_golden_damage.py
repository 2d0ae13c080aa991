"""Golden runs that were torn, damaged, or whose programs have changed since: restored, or refused by name."""

import life
import pytest
from make_golden import golden_runs

from kernelckpt import CheckpointHook, FileStorage, Program, load
from kernelckpt.checkpoint.load import snapshot_of_run
from kernelckpt.codec import version
from kernelckpt.codec.codec import Codec
from kernelckpt.errors import CorruptionError, KernelCkptError, RestoreError
from kernelckpt.log import list_checkpoints, read_run
from kernelckpt.testing import ManualClock

RUNS = [run for number in range(1, version.FORMAT_VERSION + 1) for run in golden_runs(number)]
LIVES = [run for run in RUNS if run.run_id == life.RUN]


def named(run):
    return f"{run.folder.parent.name}-{run.run_id}"


@pytest.fixture(params=RUNS, ids=named)
def run(request):
    return request.param


def newest_segment(root):
    """The segment that was written last."""
    found = (path for path in root.rglob("seg.*"))
    return max(found, key=lambda path: tuple(map(int, path.name.split(".")[1:])))


async def test_a_torn_tail_is_damage_where_it_was_acknowledged_and_dropped_where_not(run, tmp_path):
    root = run.copy(tmp_path)
    segment = newest_segment(root)
    segment.write_bytes(segment.read_bytes()[:-5])
    async with FileStorage(root) as storage:
        with pytest.raises(CorruptionError) as caught:
            await load(storage, run.run_id, keys=run.keys)
        assert caught.value.hint
    next(root.rglob("head")).unlink()
    async with FileStorage(root) as storage:
        newest = (await list_checkpoints(storage, run.run_id, codec=Codec(run.keys)))[-1]
        assert newest.sequence == max(run.states) - 1
        await load(storage, run.run_id, keys=run.keys)


async def test_a_flipped_bit_anywhere_gives_a_state_that_was_or_a_typed_error(run, tmp_path):
    root = run.copy(tmp_path)
    good = {(await read(root, run, at))[0] for at in await checkpoints(root, run)}
    newest, refused = (await read(root, run))[0], 0
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 8)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
            found, error = await read(root, run)
            assert found == newest or error.hint
            if error is not None:
                refused += 1
                found, error = await read(root, run, on_corruption="fall_back")
                assert found in good or error.hint
        path.write_bytes(data)
    assert refused > 20
    assert (await read(root, run))[0] == newest


async def checkpoints(root, run):
    async with FileStorage(root) as storage:
        infos = await list_checkpoints(storage, run.run_id, codec=Codec(run.keys))
        return [info.sequence for info in infos]


async def read(root, run, at=None, on_corruption="refuse"):
    """The state as JSON and no error, or none and the error."""
    async with FileStorage(root) as storage:
        try:
            loaded = await read_run(
                storage, run.run_id, at, on_corruption=on_corruption, codec=Codec(run.keys)
            )
            return snapshot_of_run(loaded).to_json(), None
        except KernelCkptError as error:
            return "", error


@pytest.fixture(params=LIVES, ids=named)
async def storage(request, tmp_path):
    async with FileStorage(request.param.copy(tmp_path)) as found:
        yield found


def kernel_with(storage, listen):
    """The kernel of the run, whose program `listen` is another one now."""
    return life.kernel_of(CheckpointHook(storage, every=None), clock=ManualClock(), listen=listen)


async def test_the_state_of_a_program_that_has_changed_is_upgraded(storage):
    seen = []

    def upgrade(old, from_version):
        seen.append((old, from_version))
        return [old["heard"]]

    async def listen(turn):
        return turn.complete("", output=turn.state)

    changed = Program(listen, state=list[int], version=2, upgrade=upgrade)
    async with kernel_with(storage, changed) as kernel:
        assert kernel.restored.upgraded == ("listener",)
        await kernel.send("listener", "go on")
        assert (await kernel.join("listener")).output == [2]
    assert (set(map(repr, seen))) == {repr(({"heard": 2}, 1))}
    async with kernel_with(storage, changed) as kernel:
        assert kernel.restored.upgraded == ()


@pytest.mark.parametrize(
    ("program", "missing"),
    [
        (Program(life.listen, state=list[int], version=2), "written by version 1 of the program"),
        (
            Program(life.listen, state=list[int], version=2, upgrade=lambda old, _: old["gone"]),
            "its upgrade from version 1 raised KeyError",
        ),
        (Program(life.listen, state=list[int], version=2, upgrade=lambda old, _: old), "declared|Expected"),
        (Program(life.listen, state=list[int]), "Expected `array`"),
    ],
    ids=["no upgrade", "one that raises", "one that gives no state", "the same version of another type"],
)
async def test_a_state_that_nobody_can_upgrade_is_refused_by_name(storage, program, missing):
    before = await storage.list_entries(life.RUN)
    with pytest.raises(RestoreError, match=missing) as caught:
        async with kernel_with(storage, program):
            pytest.fail("it started")
    assert "listener" in str(caught.value)
    assert await storage.list_entries(life.RUN) == before


async def test_a_state_that_a_newer_program_wrote_is_refused_by_name(storage):
    async def listen(turn):
        return turn.wait_for_message()

    newer = Program(listen, version=3, upgrade=lambda old, _: old)
    async with kernel_with(storage, newer):
        pass
    with pytest.raises(RestoreError, match="written by version 3 of the program, this is version 1"):
        async with kernel_with(storage, Program(life.listen, state=dict[str, int])):
            pytest.fail("it started")
