"""A kernel that is told what is secret: nothing of it becomes state, and live and restored are the same."""

import traceback
from typing import Annotated

import msgspec
import pytest
from governed_kit import rules, spec_of
from kernel_kit import Recorder, kernel_of, settle, texts
from msgspec.structs import replace

from kernelckpt import (
    AgentIdentity,
    CapabilityDescriptor,
    CapabilityKind,
    ContextConfig,
    GovernancePolicy,
    Message,
    MilestonePhase,
    PermissionAction,
    Program,
    Redaction,
    RuntimeSignal,
    Scheduler,
    SignalSource,
    SignalType,
    ToolCall,
    Urgency,
    tool,
)
from kernelckpt.errors import InvalidValueError, RestoreError, TaskMismatchError, UnknownTaskError, UsageError
from kernelckpt.kernel.snapshot import snapshot_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.message import Text, ToolResultPart

KEY = "sk-live-0123456789"
MARK = "[redacted API_KEY]"
KNOWN = Redaction({"API_KEY": KEY}, {"card": r"\b(?:\d[ -]?){13,16}\b"})


def redacted(programs, *, hooks=(), **settings):
    return kernel_of(programs, hooks=hooks, redaction=KNOWN, **settings)


async def wait(turn):
    return turn.wait_external("for ever")


def one_turn(act):
    """A program whose first turn does something, and whose second waits."""

    async def program(turn):
        if turn.number == 1:
            return await act(turn)
        return turn.wait_external("done")

    return program


def holds_secret(recorder):
    saved = recorder.saved()
    stored = b"".join(
        [*saved.records.values(), *(item for items in saved.streams.values() for item in items)]
    )
    return KEY.encode() in stored


# identities


def signal_with(**fields):
    return RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL, "s", **fields)


TOOL = CapabilityKind.TOOL
REFUSED = {
    "task_id": lambda kernel: kernel.submit("wait", task_id=KEY),
    "program": lambda kernel: kernel.submit(KEY, task_id="x"),
    "caps[1]": lambda kernel: kernel.submit("wait", task_id="x", caps=("a", KEY)),
    "run_spec.identity.agent_id": lambda kernel: kernel.submit(
        "wait", task_id="x", run_spec=replace(spec_of(), identity=AgentIdentity.new(KEY, "session"))
    ),
    "run_spec.milestones.phases[0].id": lambda kernel: kernel.submit(
        "wait", task_id="x", run_spec=spec_of(MilestonePhase(KEY))
    ),
    "capabilities.entries[0].id": lambda kernel: kernel.submit(
        "wait", task_id="x", capabilities=[CapabilityDescriptor(KEY, TOOL, "")]
    ),
    "messages[0].tool_calls[0].id": lambda kernel: kernel.submit(
        "wait", task_id="x", messages=[Message.assistant("", [ToolCall(KEY, "f")])]
    ),
    "message.content[0].call_id": lambda kernel: kernel.send("t", Message.tool([ToolResultPart(KEY, "")])),
    "key": lambda kernel: kernel.send("t", "hello", key=KEY),
    "signal.dedupe_key": lambda kernel: kernel.signal(signal_with(dedupe_key=KEY), "t"),
    "signal.id": lambda kernel: kernel.signal(signal_with(id=KEY), "t"),
}


@pytest.mark.parametrize("path", REFUSED)
async def test_a_secret_in_an_identity_from_outside_is_refused_and_nothing_is_changed(path):
    recorder = Recorder()
    async with redacted({"wait": wait}, hooks=[recorder]) as kernel:
        await kernel.submit("wait", task_id="t")
        await kernel.idle()
        before, commits = kernel.snapshot(), len(recorder.commits)
        with pytest.raises(InvalidValueError, match="holds the secret API_KEY") as caught:
            await REFUSED[path](kernel)
        assert caught.value.path == path
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert (kernel.snapshot(), len(recorder.commits)) == (before, commits)


INNER = {
    "spawn": lambda turn: turn.spawn("wait", task_id=KEY),
    "append": lambda turn: turn.append(Message.assistant("", [ToolCall("a", KEY)])),
    "page_in": lambda turn: turn.page_in(Message.tool([ToolResultPart(KEY, "")])),
    "mount": lambda turn: turn.mount(CapabilityDescriptor(KEY, TOOL, "")),
    "write_memory": lambda turn: turn.write_memory(KEY, "kind", 1),
    "invalid_memory": lambda turn: turn.invalid_memory(KEY, "error"),
    "retrieved_memory": lambda turn: turn.retrieved_memory("a", KEY),
    "ask_approval": lambda turn: turn.ask_approval(KEY, "prompt"),
    "request": lambda turn: turn.request(Message.assistant("", [ToolCall(KEY, "f")])),
    "join": lambda turn: turn.join(KEY),
    "effect": lambda turn: turn.effect(tool(name=KEY)(str)),
    "call": lambda turn: turn.call(KEY),
}


@pytest.mark.parametrize("name", INNER)
async def test_a_secret_in_an_identity_from_a_program_is_refused_when_it_is_staged(name):
    caught = []

    async def act(turn):
        try:
            made = INNER[name](turn)
            if name in {"effect", "call"}:
                await made
        except InvalidValueError as error:
            caught.append("".join(traceback.format_exception(error)))
        turn.say("gone on")

    recorder = Recorder()
    async with redacted({"p": one_turn(act), "wait": wait}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert texts(kernel, "t") == ["gone on"]
    assert len(caught) == 1
    assert "API_KEY" in caught[0]
    assert KEY not in caught[0]
    assert not holds_secret(recorder)


@pytest.mark.parametrize(
    "settings",
    [
        {"run_id": KEY},
        {"programs": {KEY: wait}},
        {"tools": [tool(name=KEY)(str)]},
        {"governance": GovernancePolicy(vetoed_tools=(KEY,))},
        {"governance": rules(**{KEY: PermissionAction.DENY})},
    ],
    ids=["run", "program", "tool", "veto", "permission"],
)
def test_a_scheduler_refuses_secrets_in_its_names_and_in_its_policy(settings):
    with pytest.raises(InvalidValueError, match="API_KEY"):
        Scheduler(**{"programs": {"wait": wait}, "run_id": "run", "redaction": KNOWN, **settings})


def test_only_a_redaction_is_one():
    with pytest.raises(UsageError, match="redaction is a dict"):
        Scheduler({"wait": wait}, run_id="run", redaction={"API_KEY": KEY})


async def test_asking_for_a_task_of_a_secret_name_does_not_repeat_it():
    async with redacted({"wait": wait}) as kernel:
        for ask in (kernel.join, kernel.resume, kernel.cancel):
            with pytest.raises(UsageError) as caught:
                await ask(KEY)
            assert KEY not in str(caught.value)
        with pytest.raises(UnknownTaskError, match="'other'"):
            await kernel.join("other")


# values of a type


class Keyed(msgspec.Struct, frozen=True):
    mode: str
    key: str


class Exact(msgspec.Struct, frozen=True):
    code: Annotated[str, msgspec.Meta(pattern="^sk-")]


async def test_a_state_of_a_type_is_redacted_as_it_is_staged_and_reads_the_same_at_once():
    seen = []

    async def program(turn):
        if turn.number == 1:
            turn.set_state(Keyed("fast", KEY))
            seen.append(turn.state)
            return None
        seen.append(turn.state)
        return turn.complete(f"with {KEY}", output={"key": KEY})

    recorder = Recorder()
    async with redacted({"p": Program(program, state=Keyed)}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", goal=f"use {KEY}", input=[KEY])
        result = await kernel.join("t")
        assert kernel.tasks.get("t").goal == f"use {MARK}"
    assert seen == [Keyed("fast", MARK)] * 2
    assert (result.text, result.output) == (f"with {MARK}", {"key": MARK})
    assert not holds_secret(recorder)


async def test_a_value_that_is_not_of_its_type_without_its_secret_is_refused_as_it_is_staged():
    caught = []

    async def act(turn):
        try:
            turn.set_state(Exact(KEY))
        except InvalidValueError as error:
            caught.append(str(error))
        turn.say("gone on")

    async with redacted({"p": Program(one_turn(act), state=Exact, input=Exact)}) as kernel:
        with pytest.raises(InvalidValueError, match=r"input: not of its type .*API_KEY") as outside:
            await kernel.submit("p", task_id="t", input=Exact(KEY))
        assert KEY not in "".join(traceback.format_exception(outside.value))
        assert "t" not in kernel.tasks
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert kernel.snapshot().states == {}
    assert "API_KEY" in caught[0]
    assert KEY not in caught[0]


async def test_a_result_that_cannot_be_kept_without_its_secret_is_the_error_of_a_call_that_was_made():
    made = []

    async def fetch() -> Exact:
        made.append(1)
        return Exact(KEY)

    async def act(turn):
        for _ in range(2):
            try:
                await turn.effect(fetch)
            except Exception as error:
                turn.say(str(error))

    recorder = Recorder()
    async with redacted({"p": one_turn(act)}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        said = texts(kernel, "t")
    assert len(made) == 2
    assert all("not of its type any more" in text and "API_KEY" in text for text in said)
    assert not holds_secret(recorder)


# calls


async def test_a_call_of_a_program_gets_what_is_passed_and_gives_what_a_replay_would_give():
    got, given = [], []

    async def login(key):
        got.append(key)
        return {"token": KEY, "ok": True}

    async def program(turn):
        given.append(await turn.effect(login, KEY))
        return turn.wait_external("x")

    recorder = Recorder()
    async with redacted({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
    assert got == [KEY]
    assert given == [{"token": MARK, "ok": True}]
    begun = [saved for saved in recorder.history if any(key[0] == "effect" for key in saved.records)]
    async with redacted({"p": program}, hooks=[Recorder(begun[-1])]) as kernel:
        await kernel.idle()
    assert got == [KEY], "the outcome was in the ledger"
    assert given == [{"token": MARK, "ok": True}] * 2
    assert not holds_secret(recorder)


async def test_a_call_that_was_recorded_before_there_was_a_redaction_is_not_made_again():
    got = []

    async def login(key):
        got.append(key)

    async def program(turn):
        await turn.effect(login, KEY)
        await turn.effect(login, KEY)
        return turn.wait_external("x")

    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
    one_done = [
        saved
        for saved in recorder.history
        if [key for key in saved.records if key[0] == "effect"] == [("effect", "t", 1)]
    ][-1]
    async with redacted({"p": program}, hooks=[Recorder(one_done)]) as kernel:
        await kernel.idle()
    assert got == [KEY, KEY, KEY], "two calls at first; after the restart the second only"


async def test_a_call_with_a_key_and_a_secret_among_its_arguments_is_made_once():
    recorder, calls = Recorder(), []

    async def note(text):
        calls.append(text)

    async def program(turn):
        await turn.effect(tool(note).options(key="k1"), f"the key is {KEY}")
        return turn.complete("noted") if turn.attempt == 2 else turn.wait_external("for ever")

    async with redacted({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        during = [saved for saved in recorder.history if any(kind == "effect" for kind, *_ in saved.records)]
    async with redacted({"p": program}, hooks=[Recorder(during[-1])]) as kernel:
        assert (await kernel.join("t")).text == "noted"
    assert calls == [f"the key is {KEY}"]


async def test_the_digest_of_a_call_gives_no_secret_away():
    found = []
    for secret in (KEY, "sk-test-9876543210"):
        recorder = Recorder()
        redaction = Redaction({"API_KEY": secret}, {"card": r"\b(?:\d[ -]?){13,16}\b"})

        async def with_secret(turn, secret=secret):
            await turn.effect(len, secret)
            turn.say("x")

        async with kernel_of({"p": one_turn(with_secret)}, hooks=[recorder], redaction=redaction) as kernel:
            await kernel.submit("p", task_id="t")
            await kernel.idle()
        found.append(
            {
                msgspec.msgpack.decode(data)["digest"]
                for saved in recorder.history
                for key, data in saved.records.items()
                if key[0] == "effect"
            }
        )
    assert found[0] == found[1]


async def test_tools_of_a_request_get_the_redacted_arguments_live_and_after_a_restore():
    got = []

    @tool(effect="idempotent")
    async def pay(**arguments):
        got.append(arguments)
        if arguments["n"] == 2:
            raise ValueError(f"{KEY} is refused")
        return {"paid": KEY}

    async def act(turn):
        calls = [ToolCall("c1", "pay", {"n": 1, "key": KEY}), ToolCall("c2", "pay", {"n": 2, "key": KEY})]
        return turn.request(Message.assistant(f"paying with {KEY}", calls))

    recorder = Recorder()
    async with redacted({"p": one_turn(act)}, hooks=[recorder], tools=[pay]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        live = texts(kernel, "t")
    expected = [{"n": 1, "key": MARK}, {"n": 2, "key": MARK}]
    assert got == expected
    assert live == [f"paying with {MARK}", f'{{"paid":"{MARK}"}}', f"ValueError: {MARK} is refused"]
    asked = next(saved for saved in recorder.history if ("request", "t", 0) in saved.records)
    got.clear()
    async with redacted({"p": one_turn(act)}, hooks=[Recorder(asked)], tools=[pay]) as kernel:
        await kernel.idle()
        assert texts(kernel, "t") == live
    assert got == expected
    assert not holds_secret(recorder)


async def test_a_hit_that_only_the_text_of_a_result_shows_is_not_cut_through_by_its_preview():
    @tool(effect="idempotent")
    async def big():
        return {"a": "x" * 64, "card": 4111111111111111, "b": "y" * 600}

    async def act(turn):
        return turn.request(Message.assistant("", [ToolCall("c1", "big")]))

    recorder = Recorder()
    config = ContextConfig(spool_threshold_bytes=200, spool_preview_bytes=90)
    async with redacted({"p": one_turn(act)}, hooks=[recorder], tools=[big], context=config) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (said,) = [text for text in texts(kernel, "t") if text]
        assert "4111" not in said
        assert all("4111" not in item.output for item in kernel.snapshot().spools["t"].values())


async def test_governance_sees_what_is_called_and_keeps_none_of_it():
    seen = []

    def closure(call, caller):
        seen.append(call.arguments)
        return f"not with {call.arguments['key']}"

    async def act(turn):
        try:
            await turn.effect(tool(name="pay")(pay), key=KEY)
        except Exception as error:
            turn.say(str(error))

    async def pay(key):
        raise AssertionError

    policy = GovernancePolicy(vetoes=("closure",), default_rate_limit=None)
    recorder = Recorder()
    async with redacted(
        {"p": one_turn(act)}, hooks=[recorder], governance=policy, closures={"closure": closure}
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (said,) = texts(kernel, "t")
        (entry,) = kernel.snapshot().audits["t"]
    assert seen == [{"key": KEY}]
    assert f"not with {MARK}" in said
    assert entry.reason == f"not with {MARK}"
    assert not holds_secret(recorder)


# what is there already


async def test_a_program_that_raises_leaves_no_secret_and_events_show_none():
    async def act(turn):
        turn.emit({"draft": [KEY]})
        raise ValueError(KEY)

    events, recorder = [], Recorder()
    async with redacted({"p": one_turn(act)}, hooks=[recorder]) as kernel:

        async def watch():
            async for event in kernel.events():
                events.append(event)

        kernel.start_soon(watch)
        await settle()
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
        await settle()
    assert result.error.startswith(f"ValueError: {MARK}")
    assert {"draft": [MARK]} in [event.data.get("delta") for event in events]
    assert any(event.kind == "ended" and MARK in event.data["error"] for event in events)
    assert KEY not in repr(events)


async def test_submitting_again_is_a_no_op_also_for_what_was_kept_before_there_was_a_redaction():
    recorder = Recorder()
    spec = replace(spec_of(), metadata={"key": KEY})
    async with kernel_of({"wait": wait}, hooks=[recorder]) as kernel:
        await kernel.submit("wait", task_id="t", input={"key": KEY}, run_spec=spec)
        await kernel.idle()
    assert holds_secret(recorder)
    async with redacted({"wait": wait}, hooks=[Recorder(recorder.saved())]) as kernel:
        await kernel.submit("wait", task_id="t", input={"key": KEY}, run_spec=spec)
        with pytest.raises(TaskMismatchError, match="another input"):
            await kernel.submit("wait", task_id="t", input={"key": "else"})
        assert kernel.snapshot().inputs["t"].data == recorder.kernel.snapshot().inputs["t"].data


async def test_an_old_state_is_not_rewritten_but_what_is_put_anew_is_redacted():
    async def talk(turn):
        for message in turn.inbox:
            turn.say(f"{message.text} for {turn.goal}")
        return turn.wait_for_message()

    recorder = Recorder()
    async with kernel_of({"talk": talk}, hooks=[recorder]) as kernel:
        await kernel.submit("talk", task_id=f"t-{KEY}", goal=KEY)
        await kernel.send(f"t-{KEY}", KEY)
        await kernel.idle()
    again = Recorder(recorder.saved())
    async with redacted({"talk": talk}, hooks=[again]) as kernel:
        await kernel.send(f"t-{KEY}", "hello")
        await kernel.idle()
        assert texts(kernel, f"t-{KEY}") == [f"{KEY} for {KEY}", f"hello for {MARK}"]
        live = kernel.snapshot()
    async with redacted({"talk": talk}, hooks=[Recorder(again.saved())]) as kernel:
        restored = kernel.snapshot()
    assert live.tasks == restored.tasks
    assert live.contexts == restored.contexts
    assert live.os_view == restored.os_view


async def test_an_upgrade_that_fails_at_a_restore_is_told_without_secrets():
    async def act(turn):
        turn.set_state({"n": 1})

    def upgrade(old, version):
        raise ValueError(KEY)

    recorder = Recorder()
    async with kernel_of({"p": one_turn(act)}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
    newer = {"p": Program(one_turn(act), version=2, upgrade=upgrade)}
    assert redacted(newer).rehearse(recorder.saved()) == [
        f"state['t']: its upgrade from version 1 raised ValueError: {MARK} (mend it)"
    ]
    with pytest.raises(RestoreError, match="raised ValueError") as caught:
        async with redacted(newer, hooks=[Recorder(recorder.saved())]):
            pass
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert not any(KEY in text for text in caught.value.missing)


async def test_a_turn_sees_its_row_as_it_is_kept():
    seen = []

    async def look(turn):
        seen.append(turn.goal)
        return turn.wait_external("x")

    recorder = Recorder()
    async with kernel_of({"look": look}, hooks=[recorder]) as kernel:
        await kernel.submit("look", task_id="t", goal=KEY)
        await kernel.idle()
    submitted = next(saved for saved in recorder.history if ("task", "t", 0) in saved.records)
    async with redacted({"look": look}, hooks=[Recorder(submitted)]) as kernel:
        await kernel.idle()
        assert kernel.tasks.get("t").goal == MARK
    assert seen == [KEY, MARK]


async def test_a_restored_kernel_and_the_live_one_are_equal_at_every_commit():
    class Comparing(Recorder):
        def __init__(self):
            super().__init__()
            self.shots = []

        def on_commit(self, kernel, commit):
            super().on_commit(kernel, commit)
            self.shots.append(kernel.snapshot())

    @tool(effect="idempotent")
    async def echo(**arguments):
        return arguments

    async def act(turn):
        turn.say(KEY)
        turn.append(Message.user_multimodal([Text(KEY)]), partition="knowledge")
        turn.plan([KEY])
        turn.progress(KEY)
        turn.directive(KEY)
        turn.set_state({KEY: KEY})
        turn.spawn("wait", goal=KEY, input=KEY)
        return turn.request(Message.assistant(KEY, [ToolCall("c", "echo", {"k": KEY})]))

    comparing = Comparing()
    async with redacted({"p": one_turn(act), "wait": wait}, hooks=[comparing], tools=[echo]) as kernel:
        await kernel.submit("p", task_id="t", goal=KEY)
        await kernel.send("t", KEY)
        await kernel.signal(signal_with(payload={KEY: KEY}), "t")
        await kernel.idle()
        await kernel.cancel("t", KEY)
    assert not holds_secret(comparing)
    for saved, shot in zip(comparing.history, comparing.shots, strict=True):
        state = KernelState(lambda _: None)
        state.load(saved)
        assert snapshot_of(state) == shot
