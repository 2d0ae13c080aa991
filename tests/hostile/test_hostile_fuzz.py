"""The short form of `fuzz.py`; the long one is `make fuzz`."""

import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest
from fuzz import fuzz, read_golden
from mutation import BOMBS
from targets import Target, binary, targets

from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS, decode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import DecodeError

SCRIPT = Path(__file__).with_name("fuzz.py")


@pytest.mark.may_block
def test_no_decoder_lets_anything_but_typed_errors_out():
    command = [sys.executable, str(SCRIPT), "--inputs", "200000", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " 0 faults" in done.stdout


async def test_every_decoder_takes_its_seeds():
    found = targets(await read_golden())
    names = {target.name for target in found}
    assert names >= {f"record {kind}" for kind in RECORD_TYPES} | {f"item {kind}" for kind in STREAM_ITEMS}
    for target in found:
        if target.name in {"header", "state", "frame"} or target.name.startswith(
            ("file record with", "snapshot")
        ):
            continue  # their seeds are completed by the mutation, or belong to another place
        for seed in target.seeds:
            target.decode(seed)


def test_an_untyped_error_is_a_fault():
    def decode(data):
        return [][len(data)]

    found = fuzz(Target("bad", [b"abc"], binary([b"abc"]), decode), 10, 1)
    assert len(found.faults) == 10
    assert "IndexError" in found.faults[0]
    assert "bad 0, seed 1" in found.faults[0]


def test_the_same_seed_gives_the_same_inputs():
    mutate = binary([b"abcdef", b"xyz"])
    assert [mutate(Random(f"7 {n}"), b"abcdef") for n in range(99)] == [
        mutate(Random(f"7 {n}"), b"abcdef") for n in range(99)
    ]


@pytest.mark.parametrize("bomb", BOMBS[:11], ids=lambda bomb: bomb[:6].hex())
def test_bombs_and_ext_types_in_plain_data_are_refused(bomb):
    with pytest.raises(DecodeError):
        ValueCodec().decode(bomb, "state")
    seed = msgspec.msgpack.encode({"task_id": "a", "key": "k"})
    decode_record(("approval", "a", 1), seed)
    with pytest.raises(DecodeError, match="approval"):
        decode_record(("approval", "a", 1), b"\x83" + seed[1:] + b"\xa7payload" + bomb)
