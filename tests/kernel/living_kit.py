"""What the tests of living contexts share: an agent whose context grows, and lives from every commit on."""

from types import SimpleNamespace

from kernel_kit import Recorder, kernel_of

from kernelckpt import CompressionAction, ContextConfig, Message, PlanUpdate, SchedulerBudget, ToolCall, tool
from kernelckpt.kernel import view
from kernelckpt.kernel.context import compaction, tally
from kernelckpt.model.tcb import Tcb
from kernelckpt.testing import ManualClock

SMALL = SchedulerBudget(max_tokens=1_000, max_turns=1_000_000)
CONFIG = ContextConfig(spool_threshold_bytes=600, spool_preview_bytes=101, preserve_recent_msgs=2)
OF_CONTEXTS = frozenset({"context", "meter", "spool", "system", "knowledge", "history", "request", "effect"})


@tool(effect="idempotent")
async def fetch(size: int) -> str:
    """As many letters as are asked for; two bytes each."""
    return "ä" * size


TURNS = 24


async def growing(turn):
    """Do one thing a turn with what grows in the context; complete with what it comes to."""
    number = turn.number
    if number > TURNS:
        return turn.complete(output=[message.text for message in turn.messages])
    match number % 8:
        case 1:
            turn.update_plan(PlanUpdate(scratchpad=f"pad {number}", preserved_refs=(f"c{number}",)))
            size = 400 if number < 16 else 40
            return turn.request(
                Message.assistant(f"fetch {number}", [ToolCall(f"c{number}", "fetch", {"size": size})])
            )
        case 2:
            turn.page_in(Message.user(f"known {number} 🙂"))
            turn.observed(700 + number)
        case 3:
            turn.compact()
            turn.say(f"after {number}")
        case 4:
            turn.say("word " * 300)
            turn.compact(CompressionAction.SNIP_COMPACT, force=True)
            turn.say(f"whole {number}")
        case 5:
            turn.directive(f"remember {number}")
            turn.compact(force=True)
            turn.compact()
        case 6:
            turn.compact()
            turn.renew()
            turn.say(f"sprint {number}")
    turn.say(f"turn {number}")
    return None


async def life(programs, recorder, *, clock=None, fails="", **settings):
    """Run the agent "t" of the program "p" until nothing inside can go on; its end.

    The checks within programs count: an agent fails only with what `fails` says.
    """
    options = {"tools": [fetch], "context": CONFIG, "budget": SMALL, "clock": clock or ManualClock()}
    async with kernel_of({"p": programs}, hooks=[recorder], **{**options, **settings}) as kernel:
        await kernel.submit("p", task_id="t", goal="to grow")
        await kernel.idle()
        result = kernel.tasks.get("t").result
        assert result is not None
        assert fails in result.error if fails else result.ok, result.error
        return end_of(kernel, recorder)


def end_of(kernel, recorder):
    """All that is kept of contexts, byte for byte, and what is recreated."""
    saved = recorder.saved()
    return SimpleNamespace(
        records={key: data for key, data in saved.records.items() if key[0] in OF_CONTEXTS},
        streams={key: items for key, items in saved.streams.items() if key[0] in OF_CONTEXTS},
        handles=kernel.context("t").handles,
        pressure=(kernel.context("t").pressure, kernel.context("t").effective_pressure),
        result=getattr(kernel.tasks.get("t").result, "output", None),
    )


async def from_every_commit(program, **settings):
    """Live once, then go on from each commit of that life to the same end; the recorder of the first."""
    first = Recorder()
    end = await life(program, first, **settings)
    assert isinstance(first.kernel.tasks.get("t"), Tcb)
    for saved in first.history:
        assert await life(program, Recorder(saved), **settings) == end
    return first


async def run_once(program, **settings):
    """Run an agent once; its recorder, which knows the kernel."""
    recorder = Recorder()
    await life(program, recorder, **settings)
    return recorder


def turns(*functions):
    """A program that runs one function a turn, with what they found; then it completes."""

    async def program(turn):
        if turn.number > len(functions):
            return turn.complete("done")
        found = functions[turn.number - 1](turn)
        return found if type(found).__module__.endswith("ending") else None

    return program


def said(*texts):
    """A turn that says this."""

    def say(turn):
        for text in texts:
            turn.say(text)

    return say


def count_decodes(monkeypatch):
    """How many messages are decoded from now on, wherever the kernel does it for a context."""
    seen = SimpleNamespace(times=0)
    for module in (tally, view, compaction):
        real = module.decode_message

        def counted(*arguments, real=real):
            seen.times += 1
            return real(*arguments)

        monkeypatch.setattr(module, "decode_message", counted)
    return seen
