"""Governance, gated calls and phases across restarts: from every commit on the same end, nothing twice."""

import pytest
from governed_kit import (
    ASK,
    DENY,
    answers,
    audit,
    called,
    capability,
    phase,
    requesting,
    restored_at_every_commit,
    rules,
    spec_of,
)
from kernel_kit import Recorder, kernel_of, kinds, settle
from msgspec.structs import replace

from kernelckpt import (
    GovernancePolicy,
    HumanApproval,
    Message,
    MilestoneCheckResult,
    ResourceQuota,
    RetryPolicy,
    ToolCall,
    ToolRateLimit,
    tool,
)
from kernelckpt.codec.record import decode_record, encode_record
from kernelckpt.errors import EffectDenied, GovernanceDenied, RestoreError, UsageError
from kernelckpt.testing import ManualClock


async def child(turn):
    """Complete at once."""
    return turn.complete("child done")


async def acting(turn):
    """Gated effects and a gated spawn, one of each denied; then phases; then the end."""
    look, rm = turn.deps
    if turn.number == 1:
        said = [await turn.effect(look, n=1), await turn.effect(rm, n=2)]
        try:
            await turn.effect(rm, n=3)
        except EffectDenied as error:
            said.append(error.error)
        try:
            turn.spawn("child", task_id="no")
        except GovernanceDenied as error:
            said.append(error.reason)
        turn.set_state(said)
        return turn.join(turn.spawn("child", task_id="yes"))
    if turn.number == 2:
        turn.set_state([*turn.state, turn.results["yes"].text])
        calls = [
            ToolCall("a", "rm", {"n": 4}),
            ToolCall("b", "rm", {"n": 5}),
            ToolCall("c", "look", {"n": 6}),
        ]
        return turn.request(Message.assistant("I call", calls))
    notes = [note for note in turn.notes if note.startswith("[MILESTONE]")]
    if turn.number == 3:
        turn.set_state([*turn.state, answers(turn.messages)])
    turn.set_state([*turn.state, notes, [entry.id for entry in turn.capabilities.entries]])
    return turn.complete(f"turn {turn.number}", output=turn.state)


PHASES = (
    phase("p1", retry_policy=RetryPolicy(3), unlocks=(capability("deploy"),)),
    phase("p2", verifier=HumanApproval()),
)


def settings(calls, *, governed=True):
    """A scheduler's arguments over a list that notes calls."""
    tools = [called(calls, "look"), called(calls, "rm")]
    programs = {"acting": acting, "child": child}
    policy = {"governance": rules(rm=ASK, spawn=ASK)} if governed else {}
    return {"programs": programs, "tools": tools, "deps": tools, **policy}


def is_wanted(question):
    """Whether the human of these tests says yes."""
    arguments = question.payload.get("arguments", {})
    arguments = arguments[-1] if isinstance(arguments, list) else arguments
    return arguments.get("n") not in {3, 5} and arguments.get("task_id") != "no"


async def answer_all(kernel, calls):
    """Answer and judge until the task is done; its output, and the calls that stayed in doubt."""
    doubts = []
    while kernel.tasks.get("t") is None or not kernel.tasks.get("t").state.is_terminal():
        if kernel.tasks.get("t") is None:
            await kernel.submit("acting", task_id="t", run_spec=spec_of(*PHASES))
        await kernel.idle()
        for question in kernel.approvals():
            yes = is_wanted(question)
            if "may have happened" in question.prompt:
                number = question.payload["arguments"]
                number = (number[-1] if isinstance(number, list) else number)["n"]
                yes = number not in [arguments["n"] for _, arguments in calls]
                doubts += [] if yes else [number]
            await (kernel.approve if yes else kernel.deny)("t", question.key)
        for item in kernel.evaluations():
            if item.verifier is None:
                made = MilestoneCheckResult.pass_ if item.text == "turn 4" else MilestoneCheckResult.fail
                why = () if item.text == "turn 4" else ("try again",)
                await kernel.judge("t", made("p1", *why))
    return (await kernel.join("t")).output, doubts


async def test_restored_at_any_commit_the_end_is_the_same_and_no_call_is_made_twice():
    async def live(kernel):
        await answer_all(kernel, live.calls)

    def arguments(calls):
        live.calls = calls
        return settings(calls)

    found = await restored_at_every_commit(
        live, lambda kernel: answer_all(kernel, live.calls), settings=arguments
    )
    assert len(found) > 30
    (expected, _), made = found[-1]
    assert expected[:5] == ["look done", "rm done", "denied", "denied", "child done"]
    assert expected[5] == {"a": ["rm done", False], "b": ["denied", True], "c": ["look done", False]}
    assert expected[6] == []
    assert expected[7:10] == [[], ["[MILESTONE] phase p1 was not passed: try again"], []]
    assert expected[-1] == ["deploy"]
    for (output, doubts), calls in found:
        assert sorted(n["n"] for _, n in calls) == [1, 2, 4, 6]
        assert (calls if doubts else output) == (calls if doubts else expected)
    assert len(made) == 4


async def test_every_restored_state_is_governed_by_the_kept_policy_alone():
    recorder, calls = Recorder(), []
    async with kernel_of(hooks=[recorder], **settings(calls)) as kernel:
        await answer_all(kernel, calls)
    states = [saved for saved in recorder.history if any(key[0] == "task" for key in saved.records)]
    for saved in states:
        again, calls = Recorder(saved), []
        async with kernel_of(hooks=[again], **settings(calls, governed=False)) as kernel:
            await kernel.idle()
            assert len([name for name, _ in calls if name == "rm"]) <= allowed(saved)


def effects(saved):
    """The calls in the ledger of a state, with the keys of their records."""
    return {key: decode_record(key, data) for key, data in saved.records.items() if key[0] == "effect"}


def allowed(saved):
    """How many calls of `rm` a human has allowed that are still to be made."""
    asked = [decode_record(key, data).key for key, data in saved.records.items() if key[0] == "approval"]
    held = {int(key.removeprefix("effect:").partition(".")[0]) for key in asked if key.startswith("effect:")}
    open_ones = {key[2]: effect for key, effect in effects(saved).items() if effect.status == "planned"}
    return len([number for number, effect in open_ones.items() if effect.name == "rm" and number not in held])


def is_begun(saved):
    """Whether a call was begun and may have happened."""
    return any(effect.status == "started" for effect in effects(saved).values())


async def test_a_restart_without_the_closures_names_all_of_them_and_changes_nothing():
    policy = GovernancePolicy(vetoes=("one", "zwei"))
    closures = dict.fromkeys(policy.vetoes, lambda _call, _caller: None)
    recorder = Recorder()
    async with kernel_of({"child": child}, governance=policy, closures=closures, hooks=[recorder]):
        pass
    again = Recorder(recorder.saved())
    with pytest.raises(RestoreError) as caught:
        async with kernel_of({"child": child}, closures={"one": 5}, hooks=[again]):
            raise AssertionError("it runs ungoverned")
    assert caught.value.missing == ["governance closure 'one'", "governance closure 'zwei'"]
    assert again.commits == []
    async with kernel_of({"child": child}, closures=closures, hooks=[Recorder(recorder.saved())]) as kernel:
        assert "governance closures" in kernel.restored.recreated
        assert kernel.restored.notes == ()


async def test_a_kept_policy_with_a_fault_refuses_the_restart_unless_another_is_given():
    recorder = Recorder()
    async with kernel_of({"child": child}, governance=rules(rm=DENY), hooks=[recorder]):
        pass
    saved = recorder.saved()
    saved.records["governance", "", 0] = encode_record(rules(**{"r*m": DENY}))
    with pytest.raises(RestoreError, match=r"governance\.rules\[0\]"):
        async with kernel_of({"child": child}, hooks=[Recorder(saved)]):
            raise AssertionError("it runs under a rule that matches nothing")
    async with kernel_of({"child": child}, hooks=[Recorder(saved)], governance=rules(rm=DENY)) as kernel:
        assert len(kernel.restored.notes) == 1


async def gated(policy, calls, program, *, saved=None, tools=("rm", "look"), **more):
    """The state of a task that waits at a gate."""
    recorder = Recorder(saved)
    made = [called(calls, name) for name in tools]
    async with kernel_of({"p": program}, tools=made, governance=policy, hooks=[recorder], **more) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert calls == []
    return recorder.saved()


async def test_another_policy_takes_over_and_the_report_says_so():
    calls = []
    saved = await gated(rules(rm=ASK), calls, requesting("rm"))
    other = rules(rm=ASK, look=DENY)
    recorder = Recorder(saved)
    settings = {"tools": [called(calls, "rm")], "hooks": [recorder]}
    async with kernel_of({"p": requesting("rm")}, governance=other, **settings) as kernel:
        assert len(kernel.restored.notes) == 1
        assert "policy" in kernel.restored.notes[0]
        assert len(kernel.approvals()) == 1
    async with kernel_of(
        {"p": requesting("rm")}, tools=[called(calls, "rm")], hooks=[Recorder(recorder.saved())]
    ) as kernel:
        assert kernel.restored.notes == ()
        assert recorder.saved().records["governance", "", 0] != saved.records["governance", "", 0]


async def test_the_same_policy_again_is_not_written_again():
    saved = await gated(rules(rm=ASK), [], requesting("rm"))
    recorder = Recorder(saved)
    settings = {"tools": [called([], "rm")], "hooks": [recorder], "governance": rules(rm=ASK)}
    async with kernel_of({"p": requesting("rm")}, **settings) as kernel:
        assert kernel.restored.notes == ()
    written = [change.key[0] for commit in recorder.commits for change in commit.changes]
    assert "governance" not in written


@pytest.mark.parametrize("before", [None, rules(rm=ASK), rules()])
async def test_a_call_still_to_be_made_is_judged_again_by_another_policy(before):
    """Killed right after a request was committed, or after it was approved: the new policy counts."""
    recorder, calls = Recorder(), []
    async with kernel_of(
        {"p": requesting("rm", "look")},
        tools=[called(calls, "rm"), called(calls, "look")],
        governance=before,
        hooks=[recorder],
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        for question in kernel.approvals():
            await kernel.approve("t", question.key)
        await kernel.join("t")
    states = [saved for saved in recorder.history if ("request", "t", 0) in saved.records]
    untouched = [s for s in states if all(e.status == "planned" for e in effects(s).values())]
    assert untouched
    for saved in untouched:
        calls = []
        tools = [called(calls, "rm"), called(calls, "look")]
        settings = {"tools": tools, "hooks": [Recorder(saved)], "governance": rules(rm=DENY)}
        async with kernel_of({"p": requesting("rm", "look")}, **settings) as kernel:
            output = (await kernel.join("t")).output
            assert kernel.approvals() == []
        assert [name for name, _ in calls] == ["look"]
        assert output["answers"]["c0"][1]
        assert "denied by permission" in output["answers"]["c0"][0]
        assert output["answers"]["c1"] == ["look done", False]


async def test_a_call_that_another_policy_gates_is_asked_about_after_the_restart():
    recorder, calls = Recorder(), []
    tools = [called(calls, "rm")]
    async with kernel_of({"p": requesting("rm")}, tools=tools, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    saved = next(saved for saved in recorder.history if ("request", "t", 0) in saved.records)
    calls.clear()
    settings = {"tools": tools, "hooks": [Recorder(saved)], "governance": rules(rm=ASK)}
    async with kernel_of({"p": requesting("rm")}, **settings) as kernel:
        await settle()
        assert calls == []
        assert kernel.restored.differences == ()
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).output["answers"] == {"c0": ["rm done", False]}
    assert calls == [("rm", {"n": 0})]


@pytest.mark.parametrize("approved", [False, True])
async def test_a_gated_effect_is_judged_again_by_another_policy(approved):
    calls = []
    rm = called(calls, "rm")

    async def program(turn):
        try:
            return turn.complete(await turn.effect(rm))
        except GovernanceDenied as error:
            return turn.complete(error.stage)

    recorder = Recorder(await gated(rules(rm=ASK), calls, program))
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        if approved:
            await kernel.approve("t", kernel.approvals()[0].key)
            saved = recorder.history[-1]
        else:
            saved = recorder.saved()
    calls.clear()
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], governance=rules(rm=DENY)) as kernel:
        assert (await kernel.join("t")).text == "permission"
        assert kernel.approvals() == []
    assert calls == []


async def test_rate_windows_and_the_audit_survive():
    clock, calls = ManualClock(), []
    policy = GovernancePolicy(rate_limits=(ToolRateLimit("look", 2, 60_000),), default_rate_limit=None)

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall(str(n), "look") for n in range(2)]))
        if turn.number == 2:
            return turn.wait_external("door")
        return turn.request(Message.assistant("", [ToolCall("more", "look")]))

    recorder = Recorder()
    settings = {"tools": [called(calls, "look")], "clock": clock}
    async with kernel_of({"p": program}, governance=policy, hooks=[recorder], **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert kinds(kernel)["t"] == ("suspended", "external")
        saved = recorder.saved()
        assert {key for key, _ in kernel.scan()} == {*saved.records, *saved.streams}, "a base holds all of it"
    assert len([key for key in saved.records if key[0] == "rate"]) == 2
    again = Recorder(saved)
    async with kernel_of({"p": program}, hooks=[again], **settings) as kernel:
        await kernel.resume("t")
        await settle()
        assert kernel.tasks.get("t").deferred_until is not None
        assert len(calls) == 2
    assert audit(again, "t") == [("look", "allow", None)] * 2 + [("look", "deny", "rate_limit")]


async def test_a_question_survives_and_an_empty_answer_approves_nothing():
    calls = []
    saved = await gated(rules(rm=ASK), calls, requesting("rm"))
    settings = {"tools": [called(calls, "rm")], "hooks": [Recorder(saved)]}
    async with kernel_of({"p": requesting("rm")}, **settings) as kernel:
        for answer in (kernel.approve, kernel.resume):
            with pytest.raises(UsageError):
                await answer("t")
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload["arguments"] == {"n": 0}
        assert calls == []
        await kernel.deny("t")
        assert (await kernel.join("t")).output["answers"] == {"c0": ["denied", True]}
    assert calls == []


async def test_a_restored_phase_goes_on_from_its_place_with_its_retries():
    recorder = Recorder()

    async def work(turn):
        return turn.complete(f"try {turn.number}")

    spec = spec_of(phase("p0"), phase("p1", retry_policy=RetryPolicy(2)), phase("p2"))
    fail, pass_ = MilestoneCheckResult.fail, MilestoneCheckResult.pass_
    async with kernel_of({"work": work}, hooks=[recorder]) as kernel:
        await kernel.submit("work", task_id="t", run_spec=spec)
        await kernel.idle()
        await kernel.judge("t", pass_("p0"))
        await kernel.idle()
        await kernel.judge("t", fail("p1", "once"))
        await kernel.idle()
    again = Recorder(recorder.saved())
    async with kernel_of({"work": work}, hooks=[again]) as kernel:
        assert "milestone trackers" in kernel.restored.recreated
        (evaluation,) = kernel.evaluations()
        assert (evaluation.phase_id, evaluation.text) == ("p1", "try 3")
        with pytest.raises(UsageError):
            await kernel.judge("t", pass_("p2"))
        await kernel.judge("t", fail("p1", "twice"))
        assert (await kernel.join("t")).termination.value == "milestone_exceeded"


async def test_a_contract_without_the_stored_phase_refuses_the_restart():
    recorder = Recorder()

    async def work(turn):
        return turn.complete("done")

    async with kernel_of({"work": work}, hooks=[recorder]) as kernel:
        await kernel.submit("work", task_id="t", run_spec=spec_of(phase("p0")))
        await kernel.idle()
    saved = recorder.saved()
    spec = replace(spec_of(phase("other")), goal="the goal")
    saved.records["spec", "t", 0] = encode_record(spec)
    with pytest.raises(RestoreError, match="milestone phase 'p0'"):
        async with kernel_of({"work": work}, hooks=[Recorder(saved)]):
            raise AssertionError("it goes on without its gate")


async def test_the_quota_counts_restored_children_too():
    async def parent(turn):
        if turn.notes:
            return turn.complete(turn.notes[0])
        return turn.join(turn.spawn("sleeper", task_id=f"{turn.task.id}-c"))

    async def sleeper(turn):
        return turn.wait_external("door")

    programs, recorder = {"parent": parent, "sleeper": sleeper}, Recorder()
    policy = GovernancePolicy(quota=ResourceQuota(max_concurrent_subagents=1))
    async with kernel_of(programs, governance=policy, hooks=[recorder]) as kernel:
        await kernel.submit("parent", task_id="t")
        await kernel.idle()
    async with kernel_of(programs, hooks=[Recorder(recorder.saved())]) as kernel:
        await kernel.submit("parent", task_id="u")
        assert "1 children run, 1 may" in (await kernel.join("u")).text


async def test_an_idempotent_call_that_was_begun_is_not_begun_again_when_it_is_denied_by_now():
    calls, recorder = [], Recorder()

    @tool(effect="idempotent")
    async def sync():
        calls.append("sync")
        return "synced"

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("a", "sync")]))
        return turn.complete(output=answers(turn.messages))

    async with kernel_of({"p": program}, tools=[sync], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    begun = [s for s in recorder.history if is_begun(s)]
    calls.clear()
    settings = {"tools": [sync], "hooks": [Recorder(begun[-1])], "governance": rules(sync=DENY)}
    async with kernel_of({"p": program}, **settings) as kernel:
        output = (await kernel.join("t")).output
    assert output["a"][1]
    assert calls == []
