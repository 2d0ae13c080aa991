"""Capabilities in a live kernel: given, filtered, handed down, mounted, lent, asked for by governance."""

import pytest
from governed_kit import called, capability, noted, requesting, spec_of
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import (
    CapabilityFilter,
    CapabilityKind,
    CapabilityLease,
    GovernancePolicy,
)
from kernelckpt.errors import GovernanceDenied, InvalidValueError

READ, WRITE, NOTES = capability("read"), capability("write"), capability("notes", CapabilityKind.MEMORY)
ONLY_TOOLS = CapabilityFilter(allowed_kinds=(CapabilityKind.TOOL,))


async def show(turn):
    """Complete with what may be used."""
    return turn.complete(output=[entry.id for entry in turn.capabilities.entries])


async def test_a_task_has_what_it_is_given_and_its_filter_lets_pass():
    async with kernel_of({"show": show}) as kernel:
        given = [READ, WRITE, NOTES]
        await kernel.submit("show", task_id="all", capabilities=given)
        only = spec_of(capability_filter=ONLY_TOOLS)
        await kernel.submit("show", task_id="tools", capabilities=given, run_spec=only)
        assert (await kernel.join("all")).output == ["read", "write", "notes"]
        assert (await kernel.join("tools")).output == ["read", "write"]
        assert kernel.tasks.get("tools").caps == ("read", "write")


async def test_a_child_has_what_its_parent_has_by_then_and_its_filter_lets_pass():
    async def lead(turn):
        if turn.number == 1:
            turn.unmount(CapabilityKind.TOOL, "write")
            turn.mount(capability("late"))
            only = spec_of(capability_filter=CapabilityFilter(allowed_ids=("read", "write", "late")))
            return turn.join(turn.spawn("show", task_id="c", run_spec=only), turn.spawn("show", task_id="d"))
        return turn.complete(output={name: result.output for name, result in turn.results.items()})

    async with kernel_of({"lead": lead, "show": show}) as kernel:
        await kernel.submit("lead", task_id="t", capabilities=[READ, WRITE, NOTES])
        output = (await kernel.join("t")).output
    assert output == {"c": ["read", "late"], "d": ["read", "notes", "late"]}


async def test_what_a_turn_mounts_is_there_in_the_next_and_not_if_the_turn_fails():
    recorder, seen = Recorder(), []

    async def program(turn):
        seen.append([entry.id for entry in turn.capabilities.entries])
        turn.mount(NOTES, READ)
        turn.unmount("tool", "read")
        if turn.number == 2:
            raise ValueError("lost")

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", caps=["own"], capabilities=[READ, WRITE])
        await kernel.join("t")
        assert kernel.tasks.get("t").caps == ("own", "notes")  # of what it was given, it was to have "own"
    assert seen == [["read", "write"], ["write", "notes"]]
    (change,) = noted(recorder, "CapabilityChanged")
    assert (change.added, change.removed) == (("Memory:notes",), ("Tool:read",))


async def test_two_capabilities_of_one_id_are_told_apart_by_kind():
    async def program(turn):
        if turn.number == 1:
            return turn.unmount(CapabilityKind.TOOL, "x")
        return turn.complete(output=[entry.kind.value for entry in turn.capabilities.entries])

    async with kernel_of({"p": program}) as kernel:
        given = [capability("x"), capability("x", CapabilityKind.SKILL)]
        await kernel.submit("p", task_id="t", capabilities=given)
        assert (await kernel.join("t")).output == ["skill"]
        assert kernel.tasks.get("t").caps == ("x",)


async def test_what_is_lent_is_gone_when_so_many_turns_are_committed_after_a_restart_too():
    seen = []

    async def program(turn):
        seen.append([entry.id for entry in turn.capabilities.entries])
        return turn.wait_external("door")

    recorder = Recorder()
    lent = capability("lent", lease=CapabilityLease(2))
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", capabilities=[READ, lent])
        await kernel.idle()
        await kernel.resume("t")
        await kernel.idle()
    again = Recorder(recorder.saved())
    async with kernel_of({"p": program}, hooks=[again]) as kernel:
        await kernel.resume("t")
        await settle()
        assert kernel.tasks.get("t").caps == ("read",)
    assert seen == [["read", "lent"], ["read", "lent"], ["read"]]
    (change,) = noted(again, "CapabilityChanged")
    assert (change.removed, change.mount_reason) == (("Tool:lent",), "lease_expired")


async def test_governance_may_require_a_capability_and_always_asks_the_filter():
    calls = []
    tools = [called(calls, "read"), called(calls, "write")]
    policy = GovernancePolicy(require_capability=True, default_rate_limit=None)
    async with kernel_of({"p": requesting("read", "write")}, tools=tools, governance=policy) as kernel:
        await kernel.submit("p", task_id="some", capabilities=[READ])
        assert (
            "write was refused: tool 'write' is not among" in (await kernel.join("some")).output["notes"][0]
        )
        assert calls == []
        await kernel.submit("p", task_id="both", capabilities=[READ, WRITE])
        assert (await kernel.join("both")).output["notes"] == []
    policy = GovernancePolicy(default_rate_limit=None)
    async with kernel_of({"p": requesting("read", "write")}, tools=tools, governance=policy) as kernel:
        spec = spec_of(capability_filter=CapabilityFilter(allowed_ids=("read",)))
        await kernel.submit("p", task_id="t", run_spec=spec)
        assert "does not pass the filter" in (await kernel.join("t")).output["notes"][0]
    assert len(calls) == 2


async def test_a_tool_can_be_called_once_it_is_mounted_and_not_when_its_lease_is_over():
    calls = []
    write = called(calls, "write")

    async def program(turn):
        if turn.number == 1:
            turn.mount(capability("write", lease=CapabilityLease(2)))
        try:
            await turn.effect(write)
        except GovernanceDenied as error:
            turn.say(error.stage)
        return (
            turn.complete(output=[m.text for m in turn.messages]) if turn.number == 4 else turn.progress("on")
        )

    policy = GovernancePolicy(require_capability=True, default_rate_limit=None)
    async with kernel_of({"p": program}, governance=policy) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).output == ["capability_check", "capability_check"]
        assert len(kernel.context("t").history) == 3
    assert calls == [("write", {})]


async def test_capabilities_that_cannot_be_kept_exactly_are_refused():
    async def program(turn):
        with pytest.raises(InvalidValueError, match=r"capabilities\[1\]\.skill"):
            turn.mount(READ, capability("x", skill={"a": (1, {2})}))
        with pytest.raises(InvalidValueError, match=r"capabilities\[0\]"):
            turn.mount("read")
        return turn.complete("tried")

    async with kernel_of({"p": program}) as kernel:
        for given in ([capability("x", metadata={1, 2})], ["read"], "read", [capability("\ud800")]):
            with pytest.raises(InvalidValueError, match="capabilities"):
                await kernel.submit("p", task_id="t", capabilities=given)
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).text == "tried"
