"""`verify` as a rehearsal: what a scheduler lacks is found, at every checkpoint, and sound runs are sound."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from history_kit import History, histories, scheduler_of
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace
from state_kit import RUN, TOTALS, contents, new_storage, rot, write_base, write_records, write_run

from kernelckpt import (
    AgentIdentity,
    AgentRole,
    AgentRunSpec,
    CheckpointHook,
    Effect,
    EffectStatus,
    FileStorage,
    GovernancePolicy,
    LoopResult,
    MemoryStorage,
    Message,
    MilestoneContract,
    MilestonePhase,
    Program,
    Retention,
    Scheduler,
    TaskState,
    Tcb,
    TerminationReason,
    ToolCall,
    WaitReason,
    tool,
    verify,
)
from kernelckpt.abc import Put
from kernelckpt.checkpoint.remembering import RememberingStorage
from kernelckpt.checkpoint.verify import FindingKind
from kernelckpt.errors import RestoreError, UsageError
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.request import OpenRequest
from kernelckpt.storage import MeteredStorage

RESULT = LoopResult(TerminationReason.COMPLETED)
EXAMPLES = Path(__file__).parents[2] / "examples"


async def work(turn):
    """A program that must not be run here."""
    raise AssertionError(turn)


@tool
def mail(to):
    """A tool that must not be called here."""
    raise AssertionError(to)


def row(task_id="a", **fields):
    return (("task", task_id, 0), Tcb(task_id, program="work", **fields))


def begun_call():
    """A request whose call was begun and may have happened."""
    arguments = {"to": "ann"}
    request = OpenRequest(Message.assistant("", [ToolCall("x", "mail", arguments)]))
    call = Effect(
        "mail",
        b"d" * 16,
        status=EffectStatus.STARTED,
        call_id="x",
        arguments=msgspec.msgpack.encode(arguments),
        runs=1,
    )
    waiting = row(state=TaskState.BLOCKED, wait=WaitReason.tool())
    return [waiting, (("request", "a", 0), request), (("effect", "a", 1), call)]


async def missing(*records, scheduler):
    """What a scheduler is found to lack to go on from these records."""
    _, storage = new_storage()
    await write_records(storage, *records)
    found = (await verify(storage, RUN, scheduler=scheduler)).findings
    assert {finding.kind for finding in found} <= {FindingKind.MISSING}
    assert {finding.where for finding in found} <= {"in this scheduler"}
    return [finding.text for finding in found]


def of(programs=None, **options):
    return Scheduler({"work": work} if programs is None else programs, run_id=RUN, **options)


# what a scheduler lacks


async def test_nothing_is_missing_and_nothing_is_run():
    everything = [*begun_call(), (("state", "a", 0), Value(b"\x01"))]
    assert await missing(*everything, scheduler=of(tools=[mail])) == []


async def test_a_missing_program():
    found = await missing(row(), row("b"), scheduler=of({"other": work}))
    assert found == ["program 'work' (tasks a, b)"]


async def test_a_program_of_a_task_that_has_ended_is_not_missed():
    ended = row(state=TaskState.done(TerminationReason.COMPLETED), result=RESULT)
    assert await missing(ended, scheduler=of({})) == []


async def test_a_missing_tool_of_a_call_that_was_begun():
    assert await missing(*begun_call(), scheduler=of()) == ["tool 'mail' (task a)"]


async def test_missing_closures():
    policy = (("governance", "", 0), GovernancePolicy(vetoes=("one", "two")))
    closures = {"two": lambda call, caller: None}
    assert await missing(policy, scheduler=of(closures=closures)) == ["governance closure 'one'"]
    instead = of(governance=GovernancePolicy())
    assert await missing(policy, scheduler=instead) == []


async def test_a_missing_attention_policy():
    totals = (TOTALS, KernelTotals(attention="calm"))
    assert await missing(totals, scheduler=of()) == ["attention policy 'calm'"]
    assert await missing(totals, scheduler=of(attention="")) == []


async def test_upgrades():
    old = [row(), (("state", "a", 0), Value(b"\x01", version=1))]

    def broken(state, version):
        raise ValueError(f"{state} of {version}")

    for program, text in (
        (Program(work, version=2), "written by version 1 of the program, this is version 2"),
        (Program(work, version=2, upgrade=broken), "its upgrade from version 1 raised ValueError: 1 of 1"),
        (Program(work, state=str), "Expected `str`"),
    ):
        (found,) = await missing(*old, scheduler=of({"work": program}))
        assert text in found
    upgraded = Program(work, version=2, upgrade=lambda state, version: state + version)
    assert await missing(*old, scheduler=of({"work": upgraded})) == []


async def test_a_phase_that_the_contract_lacks_and_a_contract_with_faults():
    """What is wrong with the state itself is said of the state, and that no start comes of it as well."""
    spec = AgentRunSpec.new(AgentIdentity.new("x", "y"), AgentRole.CUSTOM, "")
    for phases, text in (
        (("one",), "milestone phase 'two'"),
        (("two", "two"), "a contract of task 'a' without fault"),
    ):
        _, storage = new_storage()
        contract = MilestoneContract(tuple(map(MilestonePhase, phases)))
        kept = (("spec", "a", 0), replace(spec, milestones=contract))
        await write_records(storage, row(), kept, (("milestone", "a", 0), MilestoneProgress("two")))
        of_state, lacking = (await verify(storage, RUN, scheduler=of())).findings
        assert (of_state.kind, lacking.kind) == (FindingKind.STATE, FindingKind.MISSING)
        assert text in lacking.text
        with pytest.raises(RestoreError) as caught:
            async with of(hooks=[CheckpointHook(storage)]):
                pytest.fail("started")
        assert caught.value.missing == [lacking.text]


async def test_a_finding_does_not_hide_what_is_missing():
    _, storage = new_storage()
    await write_records(storage, row(result=RESULT))
    found = (await verify(storage, RUN, scheduler=of({}))).findings
    assert [str(finding) for finding in found] == [
        'task["a"]: it has a result, but has not ended',
        "in this scheduler: program 'work' (tasks a)",
    ]


async def test_a_state_that_cannot_be_loaded_is_not_rehearsed():
    _, storage = new_storage()
    await write_records(storage, (("task", "a", 0), b"\xc1"))
    (found,) = (await verify(storage, RUN, scheduler=of({}))).findings
    assert found.kind is FindingKind.RECORD


async def test_what_verification_finds_missing_a_start_is_refused_for():
    _, storage = new_storage()
    await write_records(storage, *begun_call())
    found = (await verify(storage, RUN, scheduler=of({}))).findings
    with pytest.raises(RestoreError) as caught:
        async with of({}, hooks=[CheckpointHook(storage)]):
            pytest.fail("started")
    assert list(caught.value.missing) == [finding.text for finding in found]


# how it is asked


async def test_nothing_is_changed_and_the_scheduler_can_still_be_used():
    state, storage = new_storage()
    await write_records(storage, row(deferred_until=2**50))
    before = contents(state)
    scheduler = of(hooks=[CheckpointHook(storage)])
    assert (await verify(storage, RUN, scheduler=scheduler)).ok
    assert contents(state) == before
    async with scheduler as kernel:
        assert [waiting.id for waiting in kernel.tasks] == ["a"]


async def test_a_scheduler_of_another_run_is_worth_a_note():
    _, storage = new_storage()
    await write_records(storage, row())
    report = await verify(storage, RUN, scheduler=Scheduler({"work": work}, run_id="other"))
    assert report.ok
    assert report.notes == ("the scheduler is one for run 'other'",)


@pytest.mark.parametrize("wrong", [Scheduler, lambda: None, "app:make"])
async def test_what_is_no_scheduler(wrong):
    with pytest.raises(UsageError, match="scheduler: "):
        await verify(MemoryStorage(), RUN, scheduler=wrong)


# every checkpoint


async def three_states(storage):
    """The second of four checkpoints holds a contradiction; the third is a base."""
    await write_run(
        storage,
        [Put(TOTALS, KernelTotals()), Put(*row())],
        [Put(*row(result=RESULT))],
        [Put(*row())],
    )
    await write_base(storage, then=[Put(*row(goal="another"))])


async def test_every_checkpoint_is_checked_like_the_newest():
    _, storage = new_storage()
    await three_states(storage)
    assert (await verify(storage, RUN)).ok
    steps = []
    report = await verify(
        storage,
        RUN,
        scheduler=of({}),
        all_checkpoints=True,
        on_progress=lambda done, count: steps.append((done, count)),
    )
    assert (report.sequence, report.checkpoints, report.states, report.bases) == (5, 5, 5, 1)
    assert [(found.kind.value, found.checkpoint) for found in report.findings] == [
        ("missing", 5),
        ("missing", 1),
        ("state", 2),
        ("missing", 2),
        ("missing", 3),
        ("missing", 4),
    ]
    assert steps == [(done, 6) for done in range(1, 7)]


async def test_every_checkpoint_up_to_one():
    _, storage = new_storage()
    await three_states(storage)
    report = await verify(storage, RUN, 1, all_checkpoints=True)
    assert (report.ok, report.states) == (True, 1)
    report = await verify(storage, RUN, 3, all_checkpoints=True)
    assert [found.checkpoint for found in report.findings] == [2]


async def test_each_entry_is_fetched_once_however_many_states_rest_on_it():
    _, storage = new_storage()
    await three_states(storage)
    metered = MeteredStorage(storage)
    report = await verify(metered, RUN, all_checkpoints=True)
    assert (report.states, report.checkpoints) == (5, 5)
    assert metered.stats["read"].calls == 5
    assert report.bytes_read > metered.stats["read"].read + metered.stats["read_blob"].read


async def test_what_is_remembered_is_bounded():
    class Reads(MemoryStorage):
        async def read(self, run_id, epoch, sequence, *, offset=0, length=None):
            self.asked = [*getattr(self, "asked", []), sequence]
            return bytes(10)

    storage = Reads()
    remembering = RememberingStorage(storage, limit=25)
    for sequence in (1, 2, 1, 3, 1, 2, 3):
        assert await remembering.read(RUN, 1, sequence) == bytes(10)
    assert storage.asked == [1, 2, 3, 2, 3], "the two that were asked for last are at hand"


async def test_damage_is_named_once():
    state, storage = new_storage()
    await three_states(storage)
    rot(state, 2)
    plain = await verify(storage, RUN)
    report = await verify(storage, RUN, all_checkpoints=True)
    assert len(set(report.findings)) == len(report.findings)
    assert set(plain.findings) <= set(report.findings)


# what is sound


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(histories)
def test_any_history_is_sound_at_every_checkpoint(steps):
    async def live():
        storage = MemoryStorage()
        await History(storage).live(steps)
        report = await verify(storage, RUN, scheduler=scheduler_of(), all_checkpoints=True)
        assert report.findings == ()
        assert report.states == report.checkpoints

    asyncio.run(live())


EXAMPLE_RUNS = {
    "quickstart.py": ("demo", [()], {"count"}),
    "sub_agents.py": ("survey", [()], {"survey", "read"}),
    "tools_and_approval.py": ("office", [(), ("approve",)], {"clerk"}),
    "signals_messages_timers.py": ("lodge", [(), ("message",), ("signal",)], {"porter"}),
    "governed_release.py": ("release", [(), ("approve",)], {"releaser"}),
    "wrapped_loop.py": ("travel", [()], {"traveller"}),
}
"""The examples that end by themselves: their run, the arguments of each life, their programs."""

OTHERS = {
    "own_kernel.py": "another host, whose records are its own",
    "fastapi_app.py": "a server, of which the run is made here",
    "custom_backend.py": "keeps its run in a storage of its own",
    "chat_agent.py": "needs a model; its run is judged where there is one",
}


def test_every_example_is_named_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*EXAMPLE_RUNS, *OTHERS}


def module_of(name):
    """An example, imported as its users' modules are."""
    spec = importlib.util.spec_from_file_location(f"example_{name.removesuffix('.py')}", EXAMPLES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", EXAMPLE_RUNS)
def test_the_run_of_an_example_is_sound(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)  # as python does when it runs one
    run_id, lives, programs = EXAMPLE_RUNS[name]
    quick = {"COUNT_PAUSE": "0", "SURVEY_PAUSE": "0", "ALARM_SECONDS": "0", "LOOP_PAUSE": "0"}
    for arguments in lives:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        subprocess.run(command, cwd=tmp_path, env={**os.environ, **quick}, check=True, capture_output=True)
        asyncio.run(check_example(tmp_path, name, run_id, programs))


async def check_example(folder, name, run_id, programs):
    module = module_of(name)
    tools = [
        getattr(module, tool) for tool in ("pay", "look_up", "run_tests", "deploy") if hasattr(module, tool)
    ]
    closures = {"no_weekends": module.no_weekends} if hasattr(module, "no_weekends") else {}
    scheduler = Scheduler(
        {program: getattr(module, program) for program in programs},
        run_id=run_id,
        tools=tools,
        closures=closures,
    )
    async with FileStorage(folder / "state") as storage:
        report = await verify(storage, run_id, scheduler=scheduler, all_checkpoints=True)
    assert (report.findings, report.notes) == ((), ())
    assert report.states > 1


async def test_the_run_of_the_web_application_is_sound():
    storage, module = MemoryStorage(), module_of("fastapi_app.py")
    module.PAUSE = 0
    programs = {"tidy": module.tidy}
    hook = CheckpointHook(storage, retention=Retention(keep_all=True))
    async with Scheduler(programs, run_id="app", hooks=[hook]) as kernel:
        await kernel.submit("tidy", task_id="t1", goal="tidy up")
        await kernel.idle()
        await kernel.approve("t1", "tidy")
        await kernel.join("t1")
    scheduler = Scheduler(programs, run_id="app")
    report = await verify(storage, "app", scheduler=scheduler, all_checkpoints=True)
    assert (report.findings, report.notes) == ((), ())
    assert report.states > 5
