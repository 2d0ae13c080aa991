"""Canaries: secrets planted through every entrance of a kernel, and looked for wherever it writes."""

import base64
import logging
import re
import traceback
from itertools import count

from msgspec.structs import replace

from kernelckpt import (
    CapabilityDescriptor,
    CapabilityKind,
    GovernancePolicy,
    MachineCheck,
    Message,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    PlanUpdate,
    ProviderFailure,
    Redaction,
    RuntimeSignal,
    SignalSource,
    SignalType,
    ToolCall,
    ToolError,
    Urgency,
    tool,
)
from kernelckpt.errors import KernelCkptError
from kernelckpt.model.capability import ToolSchema
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.message import Audio, Image, Text, ToolResultPart
from kernelckpt.model.run_spec import AgentRunSpec

VALUES = [f'Zebra/{number:04d} "quoted"\\ü' for number in range(50)]
REDACTION = Redaction(
    {f"VALUE_{number}": value for number, value in enumerate(VALUES)},
    {"canary": r"canary-\d{4}-in-a-mine"},
)
LAST_TURN = 27

_PLAIN = re.compile(rb"canary-\d{4}-in-a-mine|Zebra/\d{4}")
_STEMS = (b"canary-", b"Zebra/")


class Canaries:
    """Gives out a new secret for each place; every fifth is one of the known values."""

    def __init__(self):
        self.planted = set()
        self._numbers = count()

    def __call__(self):
        number = next(self._numbers)
        value = VALUES[number // 5 % len(VALUES)]
        secret = f"canary-{number:04d}-in-a-mine" if number % 5 else value
        self.planted.add(secret)
        return secret


def canaries_in(data):
    """The canaries in bytes or text, plain, JSON-escaped or in base64."""
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
    found = set(_PLAIN.findall(data))
    found.update(fragment for fragment in _FRAGMENTS if fragment in data)
    return found


def _fragments():
    """What each stem looks like in base64, wherever in a group of three bytes it begins."""
    for stem in _STEMS:
        for shift in range(3):
            whole = base64.b64encode(b"\0" * shift + stem + b"\0" * 3)
            yield whole[(shift * 8 + 5) // 6 : (shift + len(stem)) * 8 // 6]


_FRAGMENTS = tuple(_fragments())


class Scene:
    """Programs, tools and policy that plant canaries, and a host that answers them with more.

    Attributes:
        errors: formatted tracebacks of whatever the kernel's methods raised.
    """

    def __init__(self):
        self.plant = Canaries()
        self.errors = []
        c = self.plant

        @tool(effect="idempotent")
        async def echo(text):
            return {c(): [text, c(), c().encode()]}

        @tool(effect="idempotent")
        async def broken(text):
            raise ValueError(f"{text} and {c()}")

        @tool(effect="idempotent")
        async def large(text):
            return "\n".join(c() for _ in range(40))

        @tool(effect="idempotent")
        async def doomed(text):
            raise ToolError(c(), kind="provider_failure")

        @tool
        async def vetoed(text):
            raise AssertionError

        self.tools = [echo, broken, large, doomed, vetoed]
        self.programs = {
            "work": self.work,
            "child": self.child,
            "raise": self.raising,
            "fail": self.failing,
            "phases": self.phases,
            "wait": self.waiting,
        }
        self.governance = GovernancePolicy(vetoes=("objects",), default_rate_limit=None)
        self.closures = {"objects": lambda call, caller: c() if call.tool == "vetoed" else None}

    async def work(self, turn):
        c, number = self.plant, turn.number
        for message in turn.inbox:
            turn.say(message.text)
        for signal in turn.signals:
            turn.append(Message.user(repr(signal.payload)))
        for approval in turn.approvals.values():
            turn.say(f"{approval.by} {approval.reason}")
        self.write_context(turn)
        await self.make_calls(turn)
        if number == LAST_TURN:
            return turn.complete(c(), output=[c(), {c(): c()}])
        match number % 6:
            case 0:
                turn.spawn("child", goal=c(), input={c(): c()}, messages=[Message.user(c())])
                return turn.join()
            case 1:
                names = ("echo", "broken", "large", "doomed") if number % 12 == 1 else ("echo", "large")
                calls = [ToolCall(f"{name}-{number}", name, {"text": c()}) for name in names]
                return turn.request(Message.assistant(c(), calls))
            case 2:
                return turn.ask_approval(f"q{number}", c(), {c(): [c()]})
            case 3:
                return turn.wait_external(c())
            case 4:
                return turn.rollback(ProviderFailure(c()))
        return turn.wait_for_signal()

    def write_context(self, turn):
        c = self.plant
        turn.say(c())
        parts = [Text(c()), Image(c(), c()), Audio(c(), "audio/wav"), ToolResultPart("c", c())]
        turn.append(Message.user_multimodal(parts))
        turn.append(Message.system(c()), partition="system")
        turn.page_in(Message.user(c()))
        turn.set_state({c(): [c(), c().encode(), {"deep": (c())}]})
        turn.plan([c(), c()], current_step=0)
        turn.progress(c())
        turn.directive(c())
        turn.update_plan(PlanUpdate(scratchpad=c(), criteria=(c(),), blocked_on=(c(),), goal=c()))
        schema = ToolSchema("echo", c(), {"properties": {"text": {"default": c()}}})
        capability = CapabilityDescriptor("echo", CapabilityKind.TOOL, c(), schema, metadata={c(): c()})
        turn.mount(capability)
        turn.query_memory(c(), 1)
        turn.invalid_memory("memory", c())
        turn.retrieved_memory("memory", rationale=c())
        turn.emit(c())
        turn.emit({c(): [c()]})
        turn.emit(KeyError(c()))

    async def make_calls(self, turn):
        c = self.plant
        turn.say(str(await turn.effect(self.tools[0], c())))
        for act in (
            lambda: turn.effect(self.tools[1], c()),
            lambda: turn.call("vetoed", text=c()),
            lambda: turn.effect(self.tools[0], text={1, c()}),
        ):
            try:
                await act()
            except KernelCkptError as error:
                self.note(error)
                turn.say(str(error))

    async def child(self, turn):
        return turn.complete(f"{self.plant()} {turn.input}", output={"from": turn.input, "own": self.plant()})

    async def raising(self, turn):
        raise ValueError(self.plant())

    async def failing(self, turn):
        return turn.fail(self.plant())

    async def phases(self, turn):
        return turn.complete(self.plant(), output=[self.plant(), *turn.notes])

    async def waiting(self, turn):
        return turn.wait_for_message()

    def note(self, error):
        self.errors.append("".join(traceback.format_exception(error)))

    async def submit(self, kernel):
        c = self.plant
        await kernel.submit("work", task_id="work", goal=c(), input={c(): c()}, messages=[Message.user(c())])
        contract = MilestoneContract((MilestonePhase("draft", (c(),), verifier=MachineCheck()),))
        spec = AgentRunSpec.new(AgentIdentity.new("agent", "session"), "custom", c())
        await kernel.submit(
            "phases", task_id="phases", run_spec=replace(spec, milestones=contract, metadata={c(): c()})
        )
        for name in ("raise", "fail", "wait"):
            await kernel.submit(name, task_id=name, goal=c())

    async def answer(self, kernel):
        """Answer whatever waits, once each; whether anything of the worker is left to do."""
        c = self.plant
        for number, approval in enumerate(kernel.approvals()):
            if number % 2 or len(approval.key) % 2:
                await kernel.deny(approval.task_id, approval.key, reason=c())
            else:
                await kernel.approve(approval.task_id, approval.key, by=c())
        for item in kernel.evaluations():
            passed = len(self.plant.planted) > 600
            result = MilestoneCheckResult(item.phase_id, passed, None if passed else c())
            await kernel.judge(item.task_id, result, evidence=[c()])
        row = kernel.tasks.get("work")
        if row.state.is_terminal():
            return False
        await kernel.send("work", c(), key=f"k{row.budget.turns}")
        wait = row.wait.label() if row.wait else ""
        if wait == "external":
            await kernel.resume("work")
        elif wait == "signal":
            source, kind, urgency = SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL
            signal = RuntimeSignal(source, kind, urgency, c(), {c(): [c()]}, id=f"s{row.budget.turns}")
            await kernel.signal(signal, "work")
        return True

    async def misuse(self, kernel):
        """Call the kernel wrongly, with canaries wherever an error might repeat them."""
        c = self.plant
        for attempt in (
            lambda: kernel.submit("work", task_id="x", input={c(): {1}}),
            lambda: kernel.submit("work", task_id="x", input={"key": c(), 5: 1}),
            lambda: kernel.submit("work", task_id="work", input={c(): 1}),
            lambda: kernel.submit("work", task_id="x", role=c()),
            lambda: kernel.submit(c(), task_id="x"),
            lambda: kernel.send(c(), "hello"),
            lambda: kernel.send("work", Message(c())),
            lambda: kernel.approve("work", c()),
            lambda: kernel.signal(RuntimeSignal(c(), SignalType.EVENT, Urgency.LOW, ""), "work"),
            lambda: kernel.judge("phases", MilestoneCheckResult(c(), passed=True)),
            lambda: kernel.join(c()),
        ):
            try:
                await attempt()
            except KernelCkptError as error:
                self.note(error)
            else:
                raise AssertionError("it was to be refused")


def debug_logs(caplog):
    """Have everything logged."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
