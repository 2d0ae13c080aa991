"""The short form of `fuzz.py`; the long one is `make fuzz`."""

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from fuzz import BLOCK, PATIENCE_SECONDS, Found, Shard, fuzz, input_of, inputs_of, targets
from mutation import BOMBS, binary
from targets import Target

from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS, decode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import DecodeError

SCRIPT = Path(__file__).with_name("fuzz.py")
INPUTS = 1_000_000


def fuzz_command(*arguments):
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=230)


@pytest.mark.may_block
def test_no_decoder_lets_anything_but_typed_errors_out():
    done = fuzz_command(f"--inputs={INPUTS}", "--seed=1")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    total, _, faults = done.stdout.splitlines()[-1].partition(" inputs, ")
    assert int(total) > INPUTS * 0.99
    assert faults.startswith("0 faults, ")


@pytest.fixture(scope="module")
def found():
    return asyncio.run(targets())


@pytest.mark.may_block
def test_every_decoder_takes_its_seeds(found):
    names = {target.name for target in found}
    assert names >= {f"record {kind}" for kind in RECORD_TYPES} | {f"item {kind}" for kind in STREAM_ITEMS}
    completed = (
        "encrypted metadata",
        "header",
        "state",
        "frame",
        "file record",
        "snapshot",
        "whole",
        "restored",
        "names",
        "file URL",
    )
    for target in found:
        if not target.name.startswith(completed):  # seeds that the mutation completes, or wrong ones
            for seed in target.seeds:
                target.decode(seed)


@pytest.mark.may_block
def test_each_decoder_takes_some_and_refuses_some(found):
    for target in found:
        taken = fuzz(target, 1000 if target.share >= 0.1 else 50, 3)
        assert taken.faults == []
        assert taken.taken or target.name.startswith(
            ("container", "encrypted", "frame, ", "whole", "state of")
        )
        assert taken.refused or target.name in {"run reference", "names in a folder"}


def failing(error=None, name="bad"):
    def decode(data):
        if error is None:
            return [][len(data)]
        raise error

    return Target(name, [b"abc"], binary([b"abc"]), decode)


def test_an_untyped_error_is_a_fault():
    found = fuzz(failing(), 10, 1)
    assert len(found.faults) == 10
    assert "IndexError" in found.faults[0]
    assert "bad 0, seed 1" in found.faults[0]


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), SystemExit(0), GeneratorExit()])
def test_so_is_what_is_no_ordinary_exception(error):
    assert len(fuzz(failing(error), 2, 1).faults) == 2


def test_an_input_that_takes_too_long_is_a_fault():
    ticks = itertools.count(0, PATIENCE_SECONDS + 1)
    found = fuzz(failing(DecodeError("no", path="")), 3, 1, clock=lambda: next(ticks))
    assert found.faults == ["bad 0, seed 1: took 3.0 s"], "the slowest is told once"
    assert found.refused == 3
    found = fuzz(failing(DecodeError("no", path="")), 3, 1, clock=lambda: 0.0)
    assert found == Found(refused=3)


@pytest.mark.may_block
def test_memory_beyond_the_bound_is_a_fault():
    code = (
        "import asyncio, sys, fuzz; from targets import Target\n"
        "kept = []\n"
        "def decode(data): kept or kept.append(data * 2**28)\n"
        "bad = Target('hungry', [b'x'], lambda pick, seed: seed, decode)\n"
        "print(fuzz.run([bad], 20, 1, fuzz.Shard())[1])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parent, check=True, timeout=60)
    assert "MiB were used" in done.stdout


def test_the_same_seed_and_number_give_the_same_input(found):
    target = next(target for target in found if target.name == "record task")
    block = inputs_of(target, 7, 1)
    assert block == inputs_of(target, 7, 1)
    assert [input_of(target, 7, BLOCK + number) for number in (0, 5, 999)] == [block[0], block[5], block[999]]
    assert block != inputs_of(target, 8, 1) != inputs_of(target, 7, 0)


def test_shards_share_the_inputs_out():
    counts = [fuzz(failing(), 10_500, 1, Shard(index, 3)).faults for index in range(3)]
    assert sorted(map(len, counts)) == [3000, 3500, 4000]
    assert sorted(itertools.chain(*counts)) == sorted(fuzz(failing(), 10_500, 1).faults)
    assert Shard.parse("2/3") == Shard(1, 3)


@pytest.mark.may_block
def test_shards_run_in_processes_whose_faults_are_told():
    done = fuzz_command("--inputs=4000", "--processes=2", "--only=record task")
    assert done.returncode == 0, done.stderr
    totals = [line for line in done.stdout.splitlines() if "0 faults" in line]
    assert sum(int(line.split()[0]) for line in totals) == 4000
    done = fuzz_command("--inputs=20", "--processes=2", "--only=no such decoder")
    assert done.returncode != 0, "nothing was tried"


@pytest.mark.parametrize("bomb", BOMBS[:11], ids=lambda bomb: bomb[:6].hex())
def test_bombs_and_ext_types_in_plain_data_are_refused(bomb):
    with pytest.raises(DecodeError):
        ValueCodec().decode(bomb, "state")
    seed = msgspec.msgpack.encode({"task_id": "a", "key": "k"})
    decode_record(("approval", "a", 1), seed)
    with pytest.raises(DecodeError, match="approval"):
        decode_record(("approval", "a", 1), b"\x83" + seed[1:] + b"\xa7payload" + bomb)


@pytest.mark.may_block
@pytest.mark.parametrize("number", [17461, 42285])
def test_a_question_whose_call_was_left_behind_meanwhile_is_answered_and_gone(number):
    """Found by the long form: an answer to it raised KeyError."""
    done = fuzz_command("--only=restored kernel", "--seed=331", f"--number={number}")
    assert done.returncode == 0, done.stderr[-2000:]
