"""What the tests of governance and phases share: policies, agents that request, restarts at every commit."""

from kernel_kit import Recorder, kernel_of

from kernelckpt import (
    AgentIdentity,
    AgentRole,
    AgentRunSpec,
    CapabilityDescriptor,
    CapabilityKind,
    GovernancePolicy,
    Message,
    MilestoneContract,
    MilestonePhase,
    PermissionAction,
    PermissionRule,
    ToolCall,
    tool,
)
from kernelckpt.codec.record import decode_item

ASK, DENY, ALLOW = PermissionAction.ASK_USER, PermissionAction.DENY, PermissionAction.ALLOW


def rules(**actions):
    """A policy that does this with these tools, and has no rate limit by default."""
    made = tuple(PermissionRule(name, action) for name, action in actions.items())
    return GovernancePolicy(rules=made, default_rate_limit=None)


def spec_of(*phases, **fields):
    """A run specification with these phases."""
    contract = MilestoneContract(phases) if phases else None
    return AgentRunSpec(
        AgentIdentity.new("agent", "session"),
        AgentRole.CUSTOM,
        fields.pop("isolation", "shared"),
        "the goal",
        milestones=contract,
        **fields,
    )


def phase(phase_id, **fields):
    """A phase."""
    return MilestonePhase(phase_id, **fields)


def capability(name, kind=CapabilityKind.TOOL, **fields):
    """A capability."""
    return CapabilityDescriptor(name, kind, "", **fields)


def called(calls, name):
    """A tool of a name that notes what it is called with."""

    @tool(effect="ask", name=name)
    async def noted(**arguments):
        calls.append((name, arguments))
        return f"{name} done"

    return noted


def requesting(*names):
    """A program that requests one call of each tool, then completes with the answers it finds."""

    async def program(turn):
        if not turn.messages and not turn.notes:
            calls = [ToolCall(f"c{index}", name, {"n": index}) for index, name in enumerate(names)]
            turn.say("before")
            return turn.request(Message.assistant("I call", calls))
        return turn.complete(output={"notes": list(turn.notes), "answers": answers(turn.messages)})

    return program


def answers(messages):
    """The tool results of a history, by call id."""
    return {
        part.call_id: [part.output, part.is_error]
        for message in messages
        if message.role == "tool"
        for part in message.content
    }


def audit(recorder, task_id):
    """What the audit of a task says: each tool with its verdict and the stage that decided."""
    items = recorder.saved().streams.get(("audit", task_id, 0), ())
    found = [decode_item("audit", item, "audit") for item in items]
    return [(entry.tool, entry.verdict.value, entry.stage) for entry in found]


def noted(recorder, kind):
    """The events of a kind in the event log."""
    found = []
    for key, items in recorder.saved().streams.items():
        if key[0] == "event":
            found += [decode_item("event", item, "event") for item in items]
    return [event for event in found if type(event).__name__ == kind]


async def restored_at_every_commit(live, go_on, *, settings):
    """Run a scenario once, then from each of its commits on in a kernel of its own.

    Args:
        live: `await live(kernel)`, the scenario.
        go_on: `await go_on(kernel)` finishes it from wherever it stands; what it gives is compared.
        settings: gives the arguments of a scheduler for a list that notes calls.

    Returns:
        For each state, what `go_on` gave, and all calls made before and after it.
    """
    recorder, calls, marks = Recorder(), [], []

    class Marking(Recorder):
        def on_commit(self, kernel, commit):
            super().on_commit(kernel, commit)
            marks.append(len(calls))

    recorder = Marking()
    async with kernel_of(hooks=[recorder], **settings(calls)) as kernel:
        await live(kernel)
    found = []
    for saved, mark in zip(recorder.history, marks, strict=True):
        if not any(key[0] == "task" for key in saved.records):
            continue
        again = list(calls[:mark])
        async with kernel_of(hooks=[Recorder(saved)], **settings(again)) as kernel:
            assert kernel.restored.differences == ()
            found.append((await go_on(kernel), again))
    return found
