"""`kernelckpt rekey`, and the keys of all other commands."""

import base64

import anyio
import pytest
from cli_kit import PROGRAMS, RUN, call, make_run, run_command

from kernelckpt import CheckpointHook, KeyRing, Scheduler

ONE, TWO = bytes(range(32)), bytes(range(32, 64))


def text_of(*keys):
    return "\n".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in keys)


@pytest.fixture
def keys(tmp_path):
    """A file of keys, and how to write another."""

    def write(*keys):
        file = tmp_path / "keys"
        file.write_text(text_of(*keys) + "\n")
        return str(file)

    return write


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("KERNELCKPT_STORAGE", f"file:{tmp_path / 'state'}")
    return f"file:{tmp_path / 'state'}"


@pytest.fixture
def sealed(url):
    async def make():
        hook = CheckpointHook(url, every=None, keys=KeyRing({"one": ONE}), compression=3)
        async with Scheduler(PROGRAMS, run_id=RUN, hooks=[hook]) as kernel:
            await kernel.submit("quick", task_id="quick")
            await kernel.join("quick")

    anyio.run(make)


COMMANDS = [
    ("log", RUN),
    ("show", RUN),
    ("verify", RUN, "--all"),
    ("prune", RUN),
    ("prune", RUN, "--dry-run"),
]


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_needs_the_key_and_takes_it_from_a_file_or_the_environment(command, keys):
    without = call(*command)
    assert (without.code, without.out) == (7, "")
    assert "key 'one'" in without.err
    assert "hint:" in without.err
    assert call(*command, "--key-file", keys(("one", ONE))).code == 0
    assert call(*command, env={"KERNELCKPT_KEYS": text_of(("two", TWO), ("one", ONE))}).code == 0
    wrong = call(*command, env={"KERNELCKPT_KEYS": text_of(("one", TWO))})
    assert wrong.code == 7
    assert "not written with the key" in wrong.err


@pytest.mark.usefixtures("sealed")
def test_a_run_without_its_key_is_listed_with_the_reason(keys):
    assert "key 'one'" in call("runs").out
    assert "key 'one'" not in call("runs", "--key-file", keys(("one", ONE))).out
    assert {
        each["key"]
        for each in call("log", RUN, "--json", "--key-file", keys(("one", ONE))).data["checkpoints"]
    } == {"one"}


@pytest.mark.usefixtures("sealed")
def test_a_run_is_rekeyed(keys):
    before = call("show", RUN, "--json", "--key-file", keys(("one", ONE))).data
    done = call("rekey", RUN, "--json", "--compression", "3", "--key-file", keys(("two", TWO), ("one", ONE)))
    assert done.code == 0
    assert (done.data["key"], done.data["keys_in_use"]) == ("two", ["two"])
    assert done.data["removed"] > 0
    after = call("show", RUN, "--json", "--key-file", keys(("two", TWO)))
    assert after.data == before
    assert call("verify", RUN, "--all", "--key-file", keys(("two", TWO))).code == 0
    assert call("show", RUN, "--key-file", keys(("one", ONE))).code == 7


def test_a_run_begun_without_keys_is_encrypted(url, keys, tmp_path):
    anyio.run(make_run, url)
    before = call("show", RUN, "--json").data
    refused = call("rekey", RUN, "--key-file", keys(("two", TWO)))
    assert refused.code == 7
    assert "not encrypted" in refused.err
    assert call("show", RUN, "--json").data == before
    done = call("rekey", RUN, "--accept-plaintext", "--key-file", keys(("two", TWO)))
    assert "holds all of it under key two" in done.out
    assert call("show", RUN, "--json", "--key-file", keys(("two", TWO))).data == before
    stored = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"thought" not in stored


def test_what_is_off_is_told(url, keys, tmp_path):
    anyio.run(make_run, url)
    assert call("rekey", RUN).code == 2
    assert call("rekey", "nobody", "--key-file", keys(("two", TWO))).code == 3
    for bad in (str(tmp_path / "none"), str(tmp_path), keys(("two", TWO[:5]))):
        refused = call("show", RUN, "--key-file", bad)
        assert (refused.code, refused.out) == (2, "")
        assert "hint:" in refused.err
    (tmp_path / "empty").write_text("\n")
    for bad in ("show", "verify", "prune"):  # not the same as no keys at all
        refused = call(bad, RUN, "--key-file", str(tmp_path / "empty"))
        assert (refused.code, refused.out) == (2, "")
    assert call("show", RUN, env={"KERNELCKPT_KEYS": " "}).code == 2
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not text" in call("show", RUN, "--key-file", str(binary)).err


@pytest.mark.may_block
@pytest.mark.usefixtures("sealed")
def test_as_a_user_calls_it():
    done = run_command("rekey", RUN, KERNELCKPT_KEYS=text_of(("two", TWO), ("one", ONE)))
    assert (done.code, done.err) == (0, "")
