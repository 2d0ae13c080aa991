"""Random histories: governed agents that do what they are told, and an outside that tells them."""

from contextlib import suppress

import anyio
from hypothesis import strategies as st

from kernelckpt import (
    AgentIdentity,
    AgentIsolation,
    AgentRole,
    AgentRunSpec,
    CheckpointHook,
    ContextConfig,
    GovernancePolicy,
    HumanApproval,
    LogOptions,
    Message,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    PermissionAction,
    PermissionRule,
    RateLimit,
    Retention,
    RuntimeSignal,
    Scheduler,
    SchedulerBudget,
    SignalSource,
    SignalType,
    TimedOut,
    ToolCall,
    Urgency,
    tool,
)
from kernelckpt.errors import EffectDenied, KernelCkptError, UsageError
from kernelckpt.testing import ManualClock

RUN = "run"
COMMANDS = ("spawn", "join", "sleep", "ask", "signal", "fetch", "fetch", "pay", "both", "compact", "renew")
ENDINGS = ("spend", "complete", "complete", "complete", "fail")

tasks = st.sampled_from("aab")
told = st.lists(st.sampled_from((*COMMANDS, *ENDINGS)), min_size=1, max_size=4).map(" ".join)
steps = st.one_of(
    st.tuples(st.just("send"), tasks, told),
    st.tuples(st.just("send"), tasks, told),
    st.tuples(st.just("send"), tasks, told),
    st.tuples(st.just("signal"), st.sampled_from([None, "a", "b"]), st.sampled_from(list(Urgency))),
    st.tuples(st.just("answer"), st.sampled_from([True, True, False])),
    st.tuples(st.just("judge"), st.booleans()),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 50.0, 100.0])),
    st.tuples(st.sampled_from(["roll_back", "cancel", "extend", "forget"]), st.sampled_from("ab")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("restart")),
)
histories = st.lists(steps, min_size=5, max_size=25)


@tool(effect="idempotent")
async def fetch(size: int) -> str:
    """So many letters."""
    return "x" * size


@tool(effect="ask")
async def pay(amount: int) -> str:
    """Stand for what must not be done twice."""
    await anyio.lowlevel.checkpoint()
    return f"paid {amount}"


async def actor(turn):
    """Do what the messages say, one command a turn."""
    heard = " ".join(message.text for message in turn.inbox).split()
    todo = [*(turn.state or []), *heard]
    if not todo:
        return turn.wait_for_message()
    turn.set_state(todo[1:])
    turn.say(f"{turn.number}: {todo[0]}")
    return await obey(turn, todo[0])


async def obey(turn, command):
    calls = {
        "fetch": ToolCall(f"f{turn.number}", "fetch", {"size": 300 * turn.number}),
        "pay": ToolCall("p", "pay", {"amount": turn.number}),
    }
    match command:
        case "spawn":
            turn.spawn("actor", messages=[Message.user("go")])
        case "join":
            return turn.join(turn.spawn("quick"), turn.spawn("quick"))
        case "sleep":
            return turn.sleep(10)
        case "ask":
            return turn.ask_approval(f"k{turn.number}", "?", timeout=turn.number % 2 * 60 or None)
        case "signal":
            return turn.wait_for_signal()
        case "fetch" | "pay":
            return turn.request(Message.assistant("", [calls[command]]))
        case "both":
            with suppress(EffectDenied):
                await turn.call("pay", amount=turn.number)
            return turn.request(Message.assistant("both", list(calls.values())))
        case "compact":
            turn.compact(force=True)
        case "renew":
            turn.renew()
        case "spend":
            turn.spend(tokens=turn.number, cost_micros=3)
        case "complete":
            return turn.complete("done", output=[turn.number])
        case "fail":
            return turn.fail("told to")
    return None


async def quick(turn):
    """End at once."""
    turn.spend(tokens=1)
    return turn.complete("quick")


POLICY = GovernancePolicy(
    rules=(PermissionRule("pay", PermissionAction.ASK_USER),),
    default_rate_limit=RateLimit(5, 60_000),
    vetoes=("nothing_large",),
)
SPEC = AgentRunSpec(
    AgentIdentity.new("actor", "histories"),
    AgentRole.CUSTOM,
    AgentIsolation.SHARED,
    "to act",
    milestones=MilestoneContract((MilestonePhase("one"), MilestonePhase("two", verifier=HumanApproval()))),
)


def nothing_large(call, _caller):
    """A veto."""
    return "too large" if (call.arguments or {}).get("size", 0) > 2500 else None


def scheduler_of(clock=None, hooks=(), **settings):
    """The scheduler of these histories."""
    usual = {"tools": [fetch, pay], "closures": {"nothing_large": nothing_large}, "governance": POLICY}
    small = ContextConfig(spool_threshold_bytes=600, spool_preview_bytes=100, preserve_recent_msgs=2)
    return Scheduler(
        settings.pop("programs", {"actor": actor, "quick": quick}),
        run_id=RUN,
        clock=clock or ManualClock(),
        hooks=hooks,
        context=small,
        **{**usual, **settings},
    )


class History:
    """A run in a storage that lives through some steps."""

    def __init__(self, storage):
        self._storage = storage
        self._clock = ManualClock()

    async def live(self, steps):
        """Take the steps; with each restart a new kernel goes on."""
        left = list(steps)
        while left:
            options = LogOptions(base_min_bytes=200, base_factor=0.1, base_max_entries=9)
            keep_all = Retention(keep_all=True)
            hook = CheckpointHook(self._storage, log=options, retention=keep_all, signals=(), stop_signals=())
            async with scheduler_of(self._clock, [hook]) as self._kernel:
                for task in "ab":
                    await self._kernel.submit("actor", task_id=task, run_spec=SPEC if task == "a" else None)
                while left and (step := left.pop(0)) != ("restart",):
                    with suppress(UsageError):
                        await getattr(self, step[0])(*step[1:])
                self._kernel.request_stop(0)

    async def settle(self):
        await anyio.wait_all_tasks_blocked()

    async def send(self, task, commands):
        await self._kernel.send(task, commands)
        await self.settle()

    async def signal(self, task, urgency):
        item = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, urgency, "ring")
        await self._kernel.signal(item, task)

    async def answer(self, yes):
        await self.settle()
        for item in self._kernel.approvals():
            with suppress(KernelCkptError):  # one answer may end the task that asked more
                await (self._kernel.approve if yes else self._kernel.deny)(item.task_id, item.key)

    async def judge(self, passed):
        await self.settle()
        for item in self._kernel.evaluations():
            await self._kernel.judge(item.task_id, MilestoneCheckResult(item.phase_id, passed, "looked at"))

    async def advance(self, seconds):
        await self.settle()
        await self._clock.advance(seconds)

    async def roll_back(self, task):
        await self._kernel.rollback(task, TimedOut())

    async def cancel(self, task):
        await self._kernel.cancel(task, "cancelled")

    async def extend(self, task):
        await self._kernel.extend(task, SchedulerBudget(max_turns=1000))

    async def forget(self, task):
        await self._kernel.forget(task)
