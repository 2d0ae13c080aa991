"""What others post to a run is done once, and nothing of it is left: no message, no memory of it."""

import anyio
import pytest
from hook_kit import listen, make, pass_time, settled

from kernelckpt import (
    Approve,
    Cancel,
    CheckpointHook,
    Deny,
    FileStorage,
    Hook,
    KeyRing,
    MemoryStorage,
    Message,
    Redaction,
    RuntimeSignal,
    Scheduler,
    SendMessage,
    SendSignal,
    SignalSource,
    SignalType,
    Urgency,
    load,
    post_command,
)
from kernelckpt.abc import Put
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.posted import MAX_POSTED_BYTES, encode_posted
from kernelckpt.errors import (
    FencedError,
    InvalidValueError,
    NotFoundError,
    PlaintextError,
    StorageError,
    UnknownKeyError,
)
from kernelckpt.model.command import PostedCommand
from kernelckpt.testing import ManualClock

LOOK = 1.0
"""Seconds after which the hook looks, by default."""


async def ask(turn):
    """Ask two questions, one after the other, and say what was answered."""
    if turn.number == 1:
        return turn.ask_approval("sure", "Are you sure?", {"amount": 10})
    answers = [f"{item.key} {item.status} {item.by} {item.reason}" for item in turn.approvals.values()]
    return turn.complete("; ".join(answers))


async def alert(turn):
    """Say the summaries of signals, for ever."""
    for item in turn.signals:
        turn.say(item.summary)
    return turn.wait_for_signal()


async def spin(turn):
    """Be at work for ever."""
    await anyio.sleep_forever()


PROGRAMS = {"listen": listen, "ask": ask, "alert": alert, "spin": spin}


def signal_of(summary="tick", urgency=Urgency.NORMAL, **facts):
    return RuntimeSignal(SignalSource.CRON, SignalType.EVENT, urgency, summary, **facts)


class Outside:
    """A run whose kernel can be started and stopped, and what others do to it meanwhile."""

    def __init__(self, storage=None, run_id="run"):
        self.storage = storage or MemoryStorage()
        self.clock = ManualClock()
        self.run_id = run_id

    def kernel(self, programs=PROGRAMS, **settings):
        kernel, _ = make(self.storage, programs, run_id=self.run_id, clock=self.clock, **settings)
        return kernel

    async def post(self, command, **settings):
        return await post_command(self.storage, self.run_id, command, clock=self.clock, **settings)

    async def ask(self, command, **settings):
        """Post, and let the kernel answer."""
        outcomes = []

        async def asking():
            outcomes.append(await self.post(command, wait=60.0, **settings))

        async with anyio.create_task_group() as group:
            group.start_soon(asking)
            await pass_time(self.clock, LOOK)
            await pass_time(self.clock, LOOK)
        return outcomes[0]

    async def look(self):
        """Let the kernel look, and do what follows."""
        await pass_time(self.clock, LOOK)

    async def posted(self):
        return [message.message_id for message in await self.storage.posted(self.run_id)]


def said(kernel, task_id):
    return [message.text for message in kernel.context(task_id).history]


async def crash(kernel):
    """End a kernel as if its process had died: nothing is written, settled or told any more."""
    kernel.halt(RuntimeError("killed"))
    await settled()


@pytest.fixture
def outside():
    return Outside()


async def started(kernel, *tasks):
    for name in tasks:
        await kernel.submit(name, task_id=name)
    await settled()


async def test_each_kind_does_what_the_kernel_itself_would(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen", "ask", "alert", "spin")
        await kernel.submit("ask", task_id="ask too")
        for command in (
            SendMessage("listen", Message.user("hello")),
            Approve("ask", ("sure",), by="Ann"),
            Deny("ask too", reason="too much"),
            SendSignal(signal_of("tick"), "alert"),
            Cancel("spin", "enough"),
        ):
            assert await outside.post(command) is None
        await outside.look()
        assert said(kernel, "listen") == ["hello"]
        assert (await kernel.join("ask")).text == "sure approved Ann "
        assert (await kernel.join("ask too")).text == "sure denied None too much"
        assert said(kernel, "alert")[-1:] == ["tick"]
        assert (await kernel.join("spin")).error == "enough"
        assert await outside.posted() == []


async def test_nothing_is_remembered_of_what_was_done(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
        for number in range(5):
            await outside.post(SendMessage("listen", Message.user(str(number))))
        await outside.look()
        assert (await outside.posted(), kernel.snapshot().commands) == ([], {})
    assert (await load(outside.storage, "run")).commands == {}


WORK = {
    "send": (SendMessage("listen", Message.user("x")), ("inbox", "listen")),
    "signal": (SendSignal(signal_of(), "alert"), ("inbox", "alert")),
    "queued signal": (SendSignal(signal_of(), "listen"), ("signal", "")),
    "approve": (Approve("ask", ("sure",)), ("approval", "ask")),
    "deny": (Deny("ask"), ("approval", "ask")),
    "cancel": (Cancel("listen"), ("task", "listen")),
}


@pytest.mark.parametrize("kind", WORK)
async def test_a_command_and_the_record_of_it_are_one_commit(outside, kind):
    command, changed = WORK[kind]
    commits = []

    class Sees(Hook):
        def on_commit(self, kernel, commit):
            commits.append({change.key[:2] for change in commit.changes if isinstance(change, Put)})

    hook = CheckpointHook(outside.storage, every=None, owner_wait=0)
    async with Scheduler(PROGRAMS, run_id="run", hooks=[hook, Sees()], clock=outside.clock) as kernel:
        await started(kernel, "listen", "ask", "alert")
        await outside.post(command)
        commits.clear()
        await outside.look()
    (done,) = [keys for keys in commits if ("command", "") in keys]
    assert changed in done


async def test_a_call_in_doubt_is_said_to_be_done_from_outside(outside):
    calls = []

    async def pay(amount):
        calls.append(amount)
        await anyio.sleep_forever()

    async def payer(turn):
        return turn.complete(f"paid: {await turn.effect(pay, 7)}")

    with pytest.raises(RuntimeError, match="killed"):
        async with outside.kernel({"payer": payer}) as kernel:
            await started(kernel, "payer")
            await crash(kernel)
    async with outside.kernel({"payer": payer}) as kernel:
        (question,) = kernel.approvals()
        refused = await outside.ask(Approve("payer", (question.key, "other"), outcome={"id": [1, None]}))
        assert refused.error == "UsageError"
        assert (await outside.ask(Approve("payer", (question.key,), outcome={"id": [1, None]}))).applied
        assert (await kernel.join("payer")).text == "paid: {'id': [1, None]}"
    assert calls == [7]


async def test_what_is_posted_while_nobody_runs_is_done_at_the_next_start_before_any_turn(outside):
    turns = []

    async def count(turn):
        turns.append(turn.number)
        if len(turns) == 1:
            await anyio.sleep_forever()
        return turn.complete("ran")

    programs = {**PROGRAMS, "count": count}
    async with outside.kernel(programs) as kernel:
        await started(kernel, "count", "ask")
        await kernel.stop(0)
    assert turns == [1]
    await outside.post(Cancel("count", "not any more"))
    await outside.post(Approve("ask", ("sure",)))
    assert len(await outside.posted()) == 2
    async with outside.kernel(programs) as kernel:
        assert (await kernel.join("count")).error == "not any more"
        assert (await kernel.join("ask")).text == "sure approved None "
        await settled()
        assert await outside.posted() == []
    assert turns == [1]


async def test_commands_of_one_poster_are_done_in_their_order(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
        for number in range(60):
            await outside.post(SendMessage("listen", Message.user(str(number))))
        await outside.look()
        assert said(kernel, "listen") == [str(number) for number in range(60)]


REFUSALS = {
    "no such task": (Cancel("nobody"), "UnknownTaskError", "no task 'nobody'"),
    "no such task to answer": (Deny("nobody"), "UnknownTaskError", "no task 'nobody'"),
    "an ended task": (SendMessage("ended", Message.user("x")), "UsageError", "it has ended"),
    "a signal to an ended task": (SendSignal(signal_of(), "ended"), "UsageError", "takes no signal"),
    "an unknown question": (Approve("ask", ("other",)), "UsageError", "asked nothing under 'other'"),
    "an approval of nothing": (Approve("ask", ()), "UsageError", "approves nothing"),
    "another answer": (Approve("ended", ("sure",)), "UsageError", "was denied already"),
    "a role that users have not": (
        SendMessage("listen", Message.tool_result("x", "y")),
        None,
        "",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_cannot_be_done_is_told_to_who_waits_and_changes_nothing(outside, name):
    command, error, text = REFUSALS[name]
    async with outside.kernel() as kernel:
        events = kernel.events()
        await started(kernel, "listen", "ask")
        await kernel.submit("ask", task_id="ended")
        await settled()
        await kernel.deny("ended", "sure")
        await kernel.join("ended")
        before = kernel.snapshot()
        outcome = await outside.ask(command)
        assert (outcome.applied, outcome.error) == (error is None, error or "")
        assert text in outcome.text
        if error is not None:
            assert kernel.snapshot() == before
        await kernel.stop()
        told = [event.data async for event in events if event.kind == "command"]
    assert [(item["id"], item["error"]) for item in told] == [(outcome.id, outcome.error)]


async def test_who_waits_is_told_what_was_decided_about_a_signal(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
        first = await outside.ask(SendSignal(signal_of(dedupe_key="k")))
        again = await outside.ask(SendSignal(signal_of(dedupe_key="k")))
        assert (first.text, again.text) == ("queue", "ignore")
        assert await outside.posted() == []


async def test_who_waits_is_told_that_there_was_nothing_to_do(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen", "ask")
        told = [await outside.ask(SendMessage("listen", Message.user("x"), "k")) for _ in range(2)]
        told += [await outside.ask(Deny("ask")), await outside.ask(Deny("ask"))]
        texts = ["", "a message of this key was there already", "", "no question was open"]
        assert [(item.applied, item.text) for item in told] == [(True, text) for text in texts]


async def test_who_waits_in_vain_is_told_nothing_and_the_command_stays(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
    outcomes = []

    async def waiting():
        outcomes.append(await outside.post(Cancel("listen"), wait=3.0))

    async with anyio.create_task_group() as group:
        group.start_soon(waiting)
        await pass_time(outside.clock, 2.9)
        assert outcomes == []
        await pass_time(outside.clock, 0.2)
    assert outcomes == [None]
    assert len(await outside.posted()) == 1


async def test_a_reply_that_nobody_fetches_goes_after_ten_minutes(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
        await outside.storage.post(
            "run", "command/hasty", posted_bytes(Cancel("listen"), "hasty", reply=True)
        )
        await outside.look()
        assert await outside.posted() == ["reply/hasty"]
        await pass_time(outside.clock, 590)
        assert await outside.posted() == ["reply/hasty"]
        await pass_time(outside.clock, 20)
        assert await outside.posted() == []


def posted_bytes(command, command_id, *, reply=False, keys=None, run_id="run"):
    return encode_posted(PostedCommand(command_id, command, 0, reply), Codec(keys), run_id)


def newer():
    data = posted_bytes(Cancel("listen"), "newer")
    assert data[7] == 1
    return data[:7] + b"\x02" + data[8:]


UNREADABLE = {
    "command/noise": b"\xc1noise",
    "command/empty": b"",
    "command/shape": b"\x93\xa5kckpt\x01\xa7command",
    "command/newer": newer(),
    "command/copied": posted_bytes(Cancel("listen"), "another"),
    "command/cut": posted_bytes(Cancel("listen"), "cut")[:-3],
    "command/ext": posted_bytes(Cancel("listen"), "ext").replace(b"\xa6listen", b"\xd6\x01list\xc0"),
    "command/unknown": posted_bytes(Cancel("listen"), "unknown").replace(b"cancel", b"remove"),
    "command/reply": encode_posted(PostedCommand("reply", Cancel("listen")), Codec(), "run").replace(
        b"\xa7command\x00", b"\xa5reply\x00"
    ),
    "command/large": b"\xc6" + b"\xff" * (MAX_POSTED_BYTES + 5000),
}


async def test_what_is_no_command_is_refused_by_name_once_and_loses_nothing_behind_it(outside):
    async with outside.kernel() as kernel:
        events = kernel.events()
        await started(kernel, "listen")
        for name, data in UNREADABLE.items():
            await outside.storage.post("run", name, data)
        await outside.storage.post("run", "somebody's", b"whatever")
        await outside.storage.post("run", "command/\ud800", b"whatever")
        await outside.post(SendMessage("listen", Message.user("behind")))
        for _ in range(3):
            await outside.look()
        assert said(kernel, "listen") == ["behind"]
        assert not kernel.tasks.get("listen").state.is_terminal()
        left = set(await outside.posted())
        await kernel.stop()
        told = [event async for event in events]
    refused = [event.data for event in told if event.kind == "command" and event.data["error"]]
    assert [f"command/{item['id']}" for item in refused] == list(UNREADABLE)
    assert {item["error"] for item in refused} == {"DecodeError", "UnsupportedVersionError"}
    strangers = [event.data["message_id"] for event in told if event.kind == "inbox_unreadable"]
    assert sorted(strangers) == ["command/\ud800", "somebody's"]
    replies = {name.replace("command/", "reply/") for name in UNREADABLE}
    assert left == {"somebody's", "command/\ud800", *replies}


async def test_a_damaged_message_stops_no_start(tmp_path):
    async with FileStorage(tmp_path) as storage:
        outside = Outside(storage)
        async with outside.kernel(inbox=None) as kernel:
            await kernel.submit("listen", task_id="listen")
            await kernel.idle()
        await outside.post(SendMessage("listen", Message.user("lost")))
        (path,) = tmp_path.rglob("inbox.*")
        await outside.post(SendMessage("listen", Message.user("kept")))
        await anyio.Path(path).write_bytes(b"\x00")
        kernel = outside.kernel()
        events = kernel.events()
        async with kernel:
            await kernel.idle()
            assert said(kernel, "listen") == ["kept"]
        told = [event.data["error"] async for event in events if event.kind == "inbox_unreadable"]
    assert [path.name in error for error in told] == [True]


async def test_large_and_odd_payloads_come_through(outside):
    odd = "ünïcödé ✓ 語 \U0001f600 \x00 \u202e"
    large = "x" * (MAX_POSTED_BYTES - 1000)
    async with outside.kernel() as kernel:
        await kernel.submit("listen", task_id=odd)
        await settled()
        await outside.post(SendMessage(odd, Message.user(odd)))
        await outside.post(SendMessage(odd, Message.user(large)))
        await outside.look()
        assert said(kernel, odd) == [odd, large]
        outcome = await outside.ask(Cancel("y" * 1_000_000))
        assert (outcome.error, len(outcome.text)) == ("UnknownTaskError", 2000)


@pytest.mark.parametrize(
    "command",
    [
        SendMessage("listen", Message.user("x" * MAX_POSTED_BYTES)),
        SendMessage("listen", Message.user("\ud800")),
        SendMessage("listen", "no message"),
        Approve("ask", "sure"),
        Cancel(None),
        SendSignal(signal_of(payload={1, 2}.__iter__())),
        "cancel",
    ],
)
async def test_what_cannot_be_a_command_is_not_posted(outside, command):
    async with outside.kernel():
        with pytest.raises(InvalidValueError):
            await outside.post(command)
        assert await outside.posted() == []


async def test_a_run_that_is_not_there(outside):
    with pytest.raises(NotFoundError):
        await outside.post(Cancel("x"))


class Failing(MemoryStorage):
    """Fails calls by name, before or after they have had their effect."""

    def __init__(self, *calls, after=False):
        super().__init__()
        self.calls, self.after, self.failed, self.asked = set(calls), after, [], []

    async def _pass(self, name, call):
        self.asked.append(name)
        if name not in self.calls:
            return await call
        self.failed.append(name)
        if self.after:
            await call
        call.close()
        raise StorageError("not now", hint="try again")

    async def post(self, *arguments):
        return await self._pass("post", super().post(*arguments))

    async def posted(self, *arguments):
        return await self._pass("posted", super().posted(*arguments))

    async def delete_posted(self, *arguments):
        return await self._pass("delete_posted", super().delete_posted(*arguments))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["posted", "delete_posted"])
async def test_a_storage_that_fails_for_a_while_makes_nothing_be_done_twice(call, after):
    storage = Failing(after=after)
    outside = Outside(storage)
    async with outside.kernel() as kernel:
        events = kernel.events()
        await started(kernel, "listen")
        await outside.post(SendMessage("listen", Message.user("once")))
        storage.calls = {call}
        for _ in range(4):
            await outside.look()
        storage.calls = set()
        assert storage.failed == [call] * 4
        remembered = len(kernel.snapshot().commands)
        assert remembered == (call == "delete_posted")
        for _ in range(2):
            await outside.look()
        assert said(kernel, "listen") == ["once"]
        assert (await outside.posted(), kernel.snapshot().commands) == ([], {})
        await kernel.stop()
        told = [event.kind async for event in events if event.kind == "inbox_failed"]
    assert told == ["inbox_failed"], "told once for as long as it goes on"


async def test_a_kernel_that_died_before_it_deleted_does_nothing_twice_and_forgets(outside):
    storage = Failing("delete_posted")
    outside = Outside(storage)
    with pytest.raises(RuntimeError, match="killed"):
        async with outside.kernel() as kernel:
            await started(kernel, "listen")
            await outside.post(SendMessage("listen", Message.user("once")), wait=0.0)
            await outside.look()
            assert said(kernel, "listen") == ["once"]
            await crash(kernel)
    assert len(await outside.posted()) == 1
    assert len((await load(storage, "run")).commands) == 1
    storage.calls = set()
    async with outside.kernel() as kernel:
        await settled()
        assert said(kernel, "listen") == ["once"]
        assert (await outside.posted(), kernel.snapshot().commands) == ([], {})


async def test_a_kernel_that_died_after_it_deleted_forgets_at_its_next_start(outside):
    storage = Failing("delete_posted", after=True)
    outside = Outside(storage)
    with pytest.raises(RuntimeError, match="killed"):
        async with outside.kernel() as kernel:
            await started(kernel, "listen")
            await outside.post(SendMessage("listen", Message.user("once")))
            await outside.look()
            await crash(kernel)
    assert await outside.posted() == []
    assert len((await load(storage, "run")).commands) == 1
    storage.asked, storage.calls = [], set()
    async with outside.kernel() as kernel:
        await settled()
        assert said(kernel, "listen") == ["once"]
        assert kernel.snapshot().commands == {}
    assert "delete_posted" in storage.asked, "it is forgotten only when the deletion is durable"


async def test_an_outcome_that_a_dead_kernel_owes_is_told_by_the_next(outside):
    storage = Failing("post")
    outside = Outside(storage)
    storage.calls = set()
    with pytest.raises(RuntimeError, match="killed"):
        async with outside.kernel() as kernel:
            await started(kernel, "alert")
            data = posted_bytes(SendSignal(signal_of(), "alert"), "owed", reply=True)
            await storage.post("run", "command/owed", data)
            storage.calls = {"post"}
            await outside.look()
            assert "tick" in said(kernel, "alert")
            await crash(kernel)
    storage.calls = set()
    async with outside.kernel() as kernel:
        await settled()
        assert await outside.posted() == ["reply/owed"]
        assert said(kernel, "alert").count("tick") == 1


async def test_a_cleared_dedup_set_accepts_a_signal_that_is_sent_again_and_does_no_command_twice(outside):
    """What docs/outside.md says of it."""
    storage = Failing("delete_posted")
    outside = Outside(storage)
    tick = SendSignal(signal_of("tick", dedupe_key="job 7"), "alert")
    with pytest.raises(RuntimeError, match="killed"):
        async with outside.kernel() as kernel:
            await started(kernel, "alert")
            await outside.post(tick)
            await outside.post(tick)  # sent again while the router remembers: ignored
            await outside.look()
            assert said(kernel, "alert").count("tick") == 1
            await crash(kernel)
    assert len(await outside.posted()) == 2, "both commands are still there"
    storage.calls = set()
    async with outside.kernel() as kernel:
        assert "signal deduplication" in kernel.restored.cleared
        await settled()
        assert said(kernel, "alert").count("tick") == 1, "a command is known by its id, whatever was cleared"
        await outside.post(tick)
        await outside.look()
        assert said(kernel, "alert").count("tick") == 2, "sent again after a restore, it is accepted again"


@pytest.mark.parametrize("durable", [True, False])
async def test_nothing_is_deleted_before_a_checkpoint_knows_of_it(durable):
    class Looking(MemoryStorage):
        async def delete_posted(self, run_id, message_ids):
            known.append([item.id for item in (await load(self, run_id)).commands.values()])
            await super().delete_posted(run_id, message_ids)

    known, outside = [], Outside(Looking())
    async with outside.kernel(durable=durable, waits=False) as kernel:
        await started(kernel, "listen")
        await outside.storage.post("run", "command/a", posted_bytes(Cancel("listen"), "a"))
        await outside.look()
        assert known == [["a"]]
        assert await outside.posted() == []


KEYS = {"one": bytes(range(32)), "two": bytes(range(32, 64))}


async def test_commands_to_an_encrypted_run_are_encrypted_and_so_are_replies(outside):
    keys = KeyRing(KEYS)
    seen = []
    post = outside.storage.post

    async def seeing(run_id, message_id, data):
        seen.append(data)
        return await post(run_id, message_id, data)

    outside.storage.post = seeing
    async with outside.kernel(keys=keys) as kernel:
        await started(kernel, "listen")
        outcome = await outside.ask(Cancel("a confidential task"), keys=KeyRing(KEYS, active="two"))
        assert outcome.error == "UnknownTaskError"
        assert len(seen) == 2
        assert not [data for data in seen if b"confidential" in data]


async def test_who_has_not_the_keys_of_a_run_cannot_post_to_it(outside):
    async with outside.kernel(keys=KeyRing(KEYS)) as kernel:
        await started(kernel, "listen")
        for keys, error in ((None, UnknownKeyError), (KeyRing({"other": bytes(32)}), UnknownKeyError)):
            with pytest.raises(error):
                await outside.post(Cancel("listen"), keys=keys)
        assert await outside.posted() == []


async def test_who_has_keys_does_not_post_in_the_clear_to_a_run_without(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
        with pytest.raises(PlaintextError):
            await outside.post(Cancel("listen"), keys=KeyRing(KEYS))
        assert await outside.posted() == []
        await outside.post(SendMessage("listen", Message.user("x")))
        await outside.look()
        assert said(kernel, "listen") == ["x"]


async def test_a_command_that_was_not_encrypted_for_this_run_and_id_is_refused(outside):
    keys = KeyRing(KEYS)
    cancel = Cancel("listen")
    wrong = {
        "plain": posted_bytes(cancel, "plain"),
        "strange": posted_bytes(cancel, "strange", keys=KeyRing({"one": bytes(32)})),
        "elsewhere": posted_bytes(cancel, "elsewhere", keys=keys, run_id="another run"),
        "copied": posted_bytes(cancel, "original", keys=keys),
        "flipped": posted_bytes(cancel, "flipped", keys=keys)[:-1] + b"\x00",
    }
    async with outside.kernel(keys=keys) as kernel:
        events = kernel.events()
        await started(kernel, "listen")
        for name, data in wrong.items():
            await outside.storage.post("run", f"command/{name}", data)
        await outside.storage.post("run", "command/right", posted_bytes(Cancel("x"), "right", keys=keys))
        await outside.look()
        assert not kernel.tasks.get("listen").state.is_terminal()
        await kernel.stop()
        told = [event.data async for event in events if event.kind == "command"]
    assert {item["id"]: item["error"] for item in told} == {
        "plain": "PlaintextError",
        "strange": "CorruptionError",
        "elsewhere": "CorruptionError",
        "copied": "CorruptionError",
        "flipped": "CorruptionError",
        "right": "UnknownTaskError",
    }


async def test_no_secret_of_a_command_becomes_state_or_is_told(outside):
    secrets = Redaction(values={"TOKEN": "sk-secret-1234"})

    def kernel_of():
        hook = CheckpointHook(outside.storage, every=None, owner_wait=0)
        return Scheduler(PROGRAMS, run_id="run", hooks=[hook], clock=outside.clock, redaction=secrets)

    async with kernel_of() as kernel:
        events = kernel.events()
        await started(kernel, "listen")
        await outside.post(SendMessage("listen", Message.user("use sk-secret-1234")))
        outcome = await outside.ask(Cancel("sk-secret-1234"))
        refused = await outside.ask(SendMessage("listen", Message.user("x"), key="sk-secret-1234"))
        assert said(kernel, "listen") == ["use [redacted TOKEN]"]
        await kernel.stop()
        told = [repr(event) async for event in events]
    assert outcome.error == "InvalidValueError"
    assert refused.error == "InvalidValueError"
    assert "sk-secret" not in "".join([*told, outcome.text, refused.text])
    assert "sk-secret" not in (await load(outside.storage, "run")).to_json()


async def test_a_policy_that_raises_makes_a_refusal_not_an_end(outside):
    class Broken:
        def decide(self, signal, *, is_running):
            raise ZeroDivisionError("policy")

    hook = CheckpointHook(outside.storage, every=None, owner_wait=0)
    kernel = Scheduler(
        PROGRAMS,
        run_id="run",
        hooks=[hook],
        clock=outside.clock,
        attention="broken",
        closures={"broken": Broken()},
    )
    async with kernel:
        await started(kernel, "listen")
        outcome = await outside.ask(SendSignal(signal_of()))
        assert (outcome.applied, outcome.text) == (False, "ZeroDivisionError: policy")
        await outside.post(SendMessage("listen", Message.user("still there")))
        await outside.look()
        assert said(kernel, "listen") == ["still there"]


async def test_other_hooks_are_told_of_a_signal_once_it_is_durable(outside):
    heard = []

    class Hears(Hook):
        async def on_signal(self, kernel, signal):
            heard.append(signal.summary)

    hook = CheckpointHook(outside.storage, every=None, owner_wait=0)
    kernel = Scheduler(PROGRAMS, run_id="run", hooks=[hook, Hears()], clock=outside.clock)
    async with kernel:
        await started(kernel, "alert")
        await outside.post(SendSignal(signal_of("tick"), "alert"))
        await outside.look()
        assert heard == ["tick"]


async def test_an_empty_inbox_costs_one_listing_a_look(outside):
    storage = Failing()
    outside = Outside(storage)
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
        assert storage.asked == ["posted"]
        commits = kernel.commit_number
        await pass_time(outside.clock, 10 * LOOK)
        assert storage.asked == ["posted"] * 11
        assert kernel.commit_number == commits


async def test_a_hook_that_is_told_not_to_look(outside):
    storage = Failing()
    outside = Outside(storage)
    async with outside.kernel(inbox=None) as kernel:
        await started(kernel, "listen")
        await outside.post(Cancel("listen"))
        await pass_time(outside.clock, 100)
        assert not kernel.tasks.get("listen").state.is_terminal()
    assert storage.asked == ["post"]


async def test_an_owner_that_was_replaced_deletes_no_command_that_it_cannot_read(outside):
    """Its keys may be older than those of the new owner."""
    with pytest.raises(FencedError):
        async with outside.kernel() as kernel:
            await started(kernel, "listen")
            await outside.storage.acquire("run", "another owner", takeover=True)
            await outside.storage.post(
                "run", "command/sealed", posted_bytes(Cancel("x"), "sealed", keys=KeyRing(KEYS))
            )
            await outside.look()
            await settled()
    assert await outside.posted() == ["command/sealed"]


async def test_what_is_posted_to_a_kernel_that_stops_is_left_to_the_next(outside):
    async with outside.kernel() as kernel:
        await started(kernel, "spin", "listen")
        kernel.request_stop(5 * LOOK)
        await outside.post(SendMessage("listen", Message.user("late")))
        await outside.look()
        assert len(await outside.posted()) == 1
        await pass_time(outside.clock, 5 * LOOK)
    async with outside.kernel() as kernel:
        await settled()
        assert said(kernel, "listen") == ["late"]
        await kernel.stop(0)


async def test_a_storage_that_cannot_be_listed_lets_no_kernel_start(outside):
    storage = Failing()
    outside = Outside(storage)
    async with outside.kernel() as kernel:
        await started(kernel, "listen")
    storage.calls = {"posted"}
    with pytest.raises(StorageError, match="not now"):
        async with outside.kernel():
            pytest.fail("it started")
    storage.calls = set()
    async with outside.kernel() as kernel:
        assert "listen" in kernel.tasks
