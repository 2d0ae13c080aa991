"""`kernelckpt log`."""

from cli_kit import RUN, call

from kernelckpt import MemoryStorage
from kernelckpt.storage import FileStorage


def test_checkpoints_newest_first(url):
    done = call("log", RUN)
    lines = done.out.splitlines()
    assert lines[0].split() == [
        "CHECKPOINT",
        "SAVED",
        "KIND",
        "TURN",
        "CHANGES",
        "SIZE",
        "TRIGGER",
        "EPOCH",
        "DAMAGE",
    ]
    numbers = [int(line.split()[0]) for line in lines[1:]]
    assert numbers == list(range(len(numbers), 0, -1))
    assert len(numbers) > 2


def test_json(url):
    data = call("log", RUN, "--json").data
    assert set(data) == {"storage", "run", "checkpoints", "more"}
    assert (data["run"], data["more"]) == (RUN, False)
    newest = data["checkpoints"][0]
    assert set(newest) == {
        "sequence",
        "epoch",
        "key",
        "kind",
        "wall_ms",
        "turn",
        "size",
        "changes",
        "trigger",
        "damage",
    }
    assert (newest["kind"], newest["epoch"], newest["turn"], newest["damage"]) == ("delta", 1, 3, "")


def test_a_limit_says_that_there_is_more(url):
    done = call("log", RUN, "--limit", "1")
    assert len(done.out.splitlines()) == 3
    assert "older ones; --limit 0" in done.out
    limited = call("log", RUN, "--limit", "1", "--json").data
    assert (len(limited["checkpoints"]), limited["more"]) == (1, True)
    whole = call("log", RUN, "--limit", "0", "--json").data
    assert whole["more"] is False
    assert whole["checkpoints"][0] == limited["checkpoints"][0]
    assert "older ones" not in call("log", RUN, "-n", str(len(whole["checkpoints"]))).out


def test_nothing_but_metadata_is_read(url, monkeypatch):
    async def refuse(*_, **__):
        raise AssertionError

    for storage in (FileStorage, MemoryStorage):
        monkeypatch.setattr(storage, "read", refuse)
        monkeypatch.setattr(storage, "read_blob", refuse)
    assert call("log", RUN).code == 0
    assert call("runs").code == 0


def test_no_such_run(url):
    done = call("log", "nobody")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: ")
    assert "'nobody'" in done.err
    assert "\nhint: " in done.err
    assert "Traceback" not in done.err
