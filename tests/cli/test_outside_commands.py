"""`kernelckpt approvals`, `approve`, `deny`, `send`, `signal`, `cancel`: what is posted and printed."""

import json

import anyio
import pytest
from cli_kit import PROGRAMS, RUN, SHOWN, call, run_command
from msgspec import UNSET

from kernelckpt import Approve, CheckpointHook, KeyRing, Scheduler, load, open_storage
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.posted import decode_command

KEY_LINE = "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_LINE = "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def go_on(url, run=RUN, keys=None):
    """Let the run's kernel do what was posted; the state it leaves."""

    async def life():
        hook = CheckpointHook(url, every=None, keys=keys)
        async with Scheduler(PROGRAMS, run_id=run, hooks=[hook]) as kernel:
            await kernel.idle()
        async with open_storage(url) as storage:
            assert list(await storage.posted(run)) == []
            return await load(storage, run, keys=keys)

    return anyio.run(life)


def posted(url, run=RUN):
    async def read():
        async with open_storage(url) as storage:
            return list(await storage.posted(run))

    return anyio.run(read)


def test_the_questions_of_a_run(url):
    done = call("approvals", RUN)
    assert done.code == 0
    assert "\x1b" not in done.out
    head, line = done.out.splitlines()
    assert head.split() == ["TASK", "KEY", "AGE", "EXPIRES", "PROMPT", "PAYLOAD"]
    assert line.split()[:2] == ["asker", "sure"]
    assert "Are you\\nsure? \\x1b[5m" in line
    assert line.endswith('{"amount":10}')


def test_the_questions_of_a_run_for_machines(url):
    data = call("approvals", RUN, "--json").data
    (item,) = data.pop("approvals")
    assert data == {"run": RUN, "checkpoint": call("log", RUN, "--json").data["checkpoints"][0]["sequence"]}
    assert item.pop("age_ms") >= 0
    assert item.pop("asked_at_ms") > 0
    assert item == {
        "task": "asker",
        "key": "sure",
        "prompt": "Are you\nsure? \x1b[5m",
        "payload": {"amount": 10},
        "expires_at_ms": None,
    }


def test_no_question_is_left_when_it_is_answered(url):
    assert call("approve", RUN, "asker", "sure").code == 0
    assert call("approvals", RUN).out.count("asker") == 1
    go_on(url)
    assert call("approvals", RUN).out == f"run {SHOWN}: nothing waits for a human\n"
    assert call("approvals", RUN, "--json").data["approvals"] == []


def test_an_approval(url):
    done = call("approve", RUN, "asker", "sure", "--by", "Ünal")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"run {SHOWN}: posted; its kernel does it when it looks next, or at its next start\n"
    (item,) = go_on(url).approvals["asker"].values()
    assert (item.status, item.by) == ("approved", "Ünal")


def test_the_value_of_a_call(url):
    assert call("approve", RUN, "asker", "effect:1", "--value", "null").code == 0
    (message,) = posted(url)
    command = decode_command(message.data, Codec(), RUN, message.message_id.partition("/")[2]).command
    assert command == Approve("asker", ("effect:1",), outcome=None)
    assert call("approve", RUN, "asker", "effect:1").code == 0
    plain = posted(url)[1]
    command = decode_command(plain.data, Codec(), RUN, plain.message_id.partition("/")[2]).command
    assert command.outcome is UNSET


def test_a_denial_of_all_that_is_asked(url):
    assert call("deny", RUN, "asker", "--reason", "too\nmuch").code == 0
    (item,) = go_on(url).approvals["asker"].values()
    assert (item.status, item.reason) == ("denied", "too\nmuch")


def test_a_denial_by_key(url):
    assert call("deny", RUN, "asker", "sure").code == 0
    (item,) = go_on(url).approvals["asker"].values()
    assert item.status == "denied"


def inbox_of(url, task):
    return [entry.message for entry in go_on(url).inbox[task].values()]


def test_messages(url, monkeypatch):
    assert call("send", RUN, "asker", "one ✓ \U0001f600", "--key", "k").code == 0
    assert call("send", RUN, "asker", "again", "--key", "k").code == 0
    whole = {"role": "user", "content": [{"type": "image", "url": "u"}, {"type": "text", "text": "t"}]}
    assert call("send", RUN, "asker", "--message", json.dumps(whole)).code == 0
    first, second, third = inbox_of(url, "asker")
    assert (first.text, second.text) == ("hello?", "one ✓ \U0001f600")
    assert (third.text, third.content[0].url) == ("t", "u")


def test_a_message_from_the_input(url):
    assert call("send", RUN, "asker", "-", text="line\nline 2\n").code == 0
    assert [message.text for message in inbox_of(url, "asker")] == ["hello?", "line\nline 2\n"]


def test_an_input_that_is_no_text_posts_nothing(url):
    done = call("send", RUN, "asker", "-", text=b"caf\xe9")
    assert (done.code, done.out) == (2, "")
    assert "the input is not text in utf-8" in done.err.lower()
    assert "nothing was posted" in done.err
    assert posted(url) == []


def test_an_argument_that_is_no_text_is_not_said_to_be_posted(url):
    done = call("send", RUN, "asker", "caf\udce9")
    assert (done.code, done.out) == (2, "")
    assert "posted" not in done.err
    assert posted(url) == []


async def owned_by_a_kernel(url, *arguments):
    hook = CheckpointHook(url, every=None, inbox=0.05)
    async with Scheduler(PROGRAMS, run_id=RUN, hooks=[hook]):
        return await anyio.to_thread.run_sync(lambda: run_command(*arguments, "-s", url))


def test_a_task_that_is_not_there_is_looked_for_with_a_command(url):
    done = anyio.run(owned_by_a_kernel, url, "cancel", RUN, "nobody", "--wait", "30")
    assert "no task 'nobody'" in done.err
    assert "`kernelckpt show RUN` lists its tasks" in done.err


def test_a_signal(url):
    options = ["--source", "cron", "--type", "job", "--urgency", "low", "--dedupe-key", "k"]
    assert call("signal", RUN, "what ✓", *options, "--payload", '{"a": [1]}', "--task", "asker").code == 0
    found = [entry.signal for entry in go_on(url).inbox["asker"].values() if entry.signal is not None]
    (item,) = found
    assert (item.source, item.signal_type, item.urgency, item.summary) == ("cron", "job", "low", "what ✓")
    assert (item.payload, item.dedupe_key) == ({"a": [1]}, "k")
    assert item.timestamp_ms > 1_700_000_000_000


def test_a_cancellation(url):
    assert call("cancel", RUN, "asker", "--reason", "enough").code == 0
    row = next(row for row in go_on(url).tasks if row.id == "asker")
    assert row.state.reason == "user_abort"
    assert row.proc.result.error == "enough"


def test_nobody_answers_in_time(url):
    done = call("cancel", RUN, "asker", "--wait", "0.01")
    assert done.code == 8
    assert "posted; no kernel has said within 0.01 s" in done.out
    assert call("cancel", RUN, "asker", "--wait", "0.01", "--json").data == {"run": RUN, "outcome": None}
    assert len(posted(url)) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["approve", RUN, "asker"],
        ["approve", RUN],
        ["approve", RUN, "asker", "sure", "--value", "yes"],
        ["send", RUN, "asker"],
        ["send", RUN, "asker", "--message", "hello"],
        ["send", RUN, "asker", "--message", '{"role": "nobody"}'],
        ["signal", RUN, "x", "--urgency", "extreme"],
        ["signal", RUN, "x", "--payload", "{"],
        ["cancel", RUN, "asker", "--wait", "-1"],
        ["send", RUN, "asker", "lone \ud800"],
        ["send", RUN, "asker", "x" * (9 * 1024 * 1024)],
    ],
)
def test_wrong_usage_posts_nothing(url, arguments):
    done = call(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err
    assert posted(url) == []


@pytest.mark.parametrize("command", [["approvals"], ["approve", "t", "k"], ["cancel", "t"], ["signal", "x"]])
def test_a_run_that_is_not_there(url, command):
    name, *rest = command
    done = call(name, "nothing", *rest)
    assert (done.code, done.out) == (3, "")
    assert "nothing" in done.err


def test_an_encrypted_run(url, tmp_path):
    good, bad = tmp_path / "keys", tmp_path / "bad"
    good.write_text(KEY_LINE)
    bad.write_text(OTHER_LINE.replace("one", "two"))
    keys = KeyRing.parse(KEY_LINE)

    async def begin():
        hook = CheckpointHook(url, every=None, keys=keys)
        async with Scheduler(PROGRAMS, run_id="sealed", hooks=[hook]) as kernel:
            await kernel.submit("ask", task_id="asker")
            await kernel.idle()

    anyio.run(begin)
    for options in ([], ["--key-file", str(bad)]):
        for command in (["approvals", "sealed"], ["approve", "sealed", "asker", "sure"]):
            done = call(*command, *options)
            assert (done.code, done.out) == (7, "")
            assert "'one'" in done.err
    assert posted(url, "sealed") == []
    assert "sure" in call("approvals", "sealed", "--key-file", str(good)).out
    assert (
        call("approve", "sealed", "asker", "sure", "--by", "Confidential", "--key-file", str(good)).code == 0
    )
    (message,) = posted(url, "sealed")
    assert b"Confidential" not in message.data
    (item,) = go_on(url, "sealed", keys).approvals["asker"].values()
    assert (item.status, item.by) == ("approved", "Confidential")


def test_keys_for_a_run_without(url, tmp_path):
    file = tmp_path / "keys"
    file.write_text(KEY_LINE)
    done = call("cancel", RUN, "asker", "--key-file", str(file))
    assert done.code == 7
    assert "--accept-plaintext" in done.err
    assert posted(url) == []
    assert call("cancel", RUN, "asker", "--key-file", str(file), "--accept-plaintext").code == 0
    assert len(posted(url)) == 1
