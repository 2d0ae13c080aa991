"""A small kernel whose run is kept as a golden one: what it did, what it left open, and how it ends.

The programs and tools are part of the golden run: what it did was done by these, so they stay as they are.
"""

from __future__ import annotations

from kernelckpt import (
    AgentIdentity,
    AgentRole,
    AgentRunSpec,
    CapabilityDescriptor,
    CapabilityKind,
    ContextConfig,
    GovernancePolicy,
    HumanApproval,
    Message,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    PermissionAction,
    PermissionRule,
    Program,
    RateLimit,
    RuntimeSignal,
    Scheduler,
    SignalSource,
    SignalType,
    ToolCall,
    Turn,
    Urgency,
    tool,
)

RUN = "life"
TICK = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL, "tick", id="t1")


@tool(effect="idempotent")
async def fetch(size: int) -> str:
    """A text of that many letters."""
    return "ä" * size


@tool(effect="ask")
async def pay(amount: int) -> str:
    """Pay, as far as anybody can tell."""
    return f"paid {amount}"


async def lead(turn: Turn):
    """Hand work to a child, fetch and pay, then say what came of it."""
    if turn.number == 1:
        turn.plan(["ask", "pay"], current_step=0)
        turn.directive("pay only once")
        turn.spend(tokens=10, cost_micros=3)
        return turn.join(turn.spawn("helper", goal="look it up", role=AgentRole.EXPLORE))
    if turn.number == 2:
        turn.say(f"the child found {[result.text for result in turn.results.values()]}")
        calls = [ToolCall("big", "fetch", {"size": 500}), ToolCall("due", "pay", {"amount": 7})]
        return turn.request(Message.assistant("I fetch and pay", calls))
    return turn.complete("all paid", output={"turns": turn.number})


async def helper(turn: Turn):
    """Find something, through the ledger."""
    found = await turn.call(fetch, size=3)
    return turn.complete(found)


async def build(turn: Turn):
    """Claim each milestone, and say what was told."""
    for note in turn.notes:
        turn.say(f"told: {note}")
    return turn.complete(f"claim {turn.number}")


async def listen(turn: Turn):
    """Keep what is sent; the end is the end."""
    for message in turn.inbox:
        turn.append(message)
        if message.text == "end":
            return turn.complete("heard all", output=[item.text for item in turn.messages])
    turn.set_state({"heard": len(turn.messages)})
    return turn.wait_for_message()


async def ask(turn: Turn):
    """Ask a human."""
    if turn.approvals:
        return turn.complete(f"{[item.status.value for item in turn.approvals.values()]}")
    return turn.ask_approval("go", "may I?", payload={"cost": 1.5})


def kernel_of(*hooks, clock, **changed: Program) -> Scheduler:
    """The kernel of the run; with programs that have changed since."""
    return Scheduler(
        {
            "lead": lead,
            "helper": helper,
            "build": build,
            "listen": Program(listen, state=dict[str, int]),
            "ask": ask,
            **changed,
        },
        run_id=RUN,
        hooks=hooks,
        tools=[fetch, pay],
        governance=GovernancePolicy(
            rules=(PermissionRule("pay", PermissionAction.ASK_USER),),
            default_rate_limit=RateLimit(50, 60_000),
        ),
        context=ContextConfig(spool_threshold_bytes=600, spool_preview_bytes=100),
        clock=clock,
    )


async def begin(kernel: Scheduler) -> None:
    """The first life: everything is begun."""
    phases = (MilestonePhase("draft", ("it runs",)), MilestonePhase("ship", verifier=HumanApproval()))
    spec = AgentRunSpec(
        AgentIdentity.new("builder", "session"),
        AgentRole.CUSTOM,
        "shared",
        "build it",
        milestones=MilestoneContract(phases),
    )
    notes = CapabilityDescriptor("notes", CapabilityKind.MEMORY, "what is known")
    await kernel.submit("lead", task_id="lead", goal="get it paid", input={"limit": 7}, capabilities=[notes])
    await kernel.submit("build", task_id="builder", run_spec=spec)
    await kernel.submit("listen", task_id="listener", messages=[Message.system("listen well")])
    await kernel.submit("ask", task_id="asker")
    await kernel.idle()
    await kernel.send("listener", "one", key="k1")
    await kernel.signal(TICK, "listener")
    await kernel.idle()


async def go_on(kernel: Scheduler) -> None:
    """The second life: some of it moves on."""
    await kernel.judge("builder", MilestoneCheckResult.pass_("draft"), evidence=["a log"])
    await kernel.send("listener", "two")
    await kernel.send("listener", "one", key="k1")
    await kernel.idle()


async def finish(kernel: Scheduler) -> dict[str, object]:
    """Whatever was left open ends; what each root task ended with."""
    await kernel.judge("builder", MilestoneCheckResult.pass_("ship"))
    for approval in kernel.approvals():
        await kernel.approve(approval.task_id, approval.key)
    await kernel.send("listener", "end")
    roots = ("lead", "builder", "listener", "asker")
    results = {task: await kernel.join(task) for task in roots}
    return {task: [result.text, result.output, result.error] for task, result in results.items()}
