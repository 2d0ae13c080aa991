"""Faults of the original's comparison with its event log, each shown not to be repeated."""

import pytest
from original_kit import Memory, kernel_of, lead, once, wait

from kernelckpt import SchedulerBudget
from kernelckpt.errors import DecodeError
from kernelckpt.kernel.events.event_log import rebuild_os_snapshot_from_events
from kernelckpt.kernel.events.session_log import read_events
from kernelckpt.model.event import MemoryRetrieval, MemoryRetrievalResult
from kernelckpt.model.os_event import Resumed, Suspended


async def fail(turn):
    return turn.fail("no luck")


async def boss(turn):
    """Have children end in each way there is."""
    if turn.number == 1:
        short = SchedulerBudget(max_turns=1)
        spin = turn.spawn("spin", task_id="spin", budget=short)
        return turn.join(spin, *[turn.spawn(name, task_id=name) for name in ("fail", "once", "wait")])
    return turn.join(turn.spawn("once", task_id="again")) if turn.number == 2 else turn.complete()


async def spin(turn):
    turn.say("again")


PROGRAMS = {"boss": boss, "fail": fail, "once": once, "spin": spin, "wait": wait, "lead": lead}


def both(kernel):
    """What the rows say of the children, and what the log says of them."""
    return kernel.snapshot().to_mapped_process_records(), list(kernel.event_log.view().process_by_agent)


async def test_h1_rows_and_log_agree_after_every_event_and_every_restore():
    memory, ends = Memory(), set()
    for step in (None, "wait", "a", "b"):
        async with kernel_of(memory.storage, PROGRAMS) as kernel:
            rows, log = both(kernel)
            assert rows == log
            await kernel.submit("boss", task_id="boss")
            await kernel.submit("lead", task_id="lead")
            if step is not None:
                await kernel.resume(step)
            await kernel.idle()
            rows, log = both(kernel)
            assert rows == log
            ends.update(record.state for record in rows)
    assert {record.agent_id for record in rows} == {"spin", "fail", "once", "wait", "again", "a", "b"}
    assert ends == {"running", "joined", "failed"}
    assert all(record.turn > 0 for record in rows)


def test_h2_answers_of_memory_are_counted():
    event = MemoryRetrievalResult(MemoryRetrieval(("m1",), "it fits"))
    assert rebuild_os_snapshot_from_events([event, event]).memory_retrieval_result_count == 2


def test_h3_an_unknown_kind_fails_with_its_place_or_is_skipped_and_counted():
    forms = [{"kind": "resumed", "turn": 1}, {"kind": "daydreamed", "turn": 2}]
    with pytest.raises(DecodeError) as caught:
        read_events(forms)
    assert caught.value.path == "events[1].kind"
    read = read_events(forms, unknown="skip")
    assert (read.events, read.unknown) == ((Resumed(1),), {"daydreamed": 1})


def test_h4_whether_a_run_is_suspended_follows_from_the_places_in_the_log():
    suspended, resumed = Suspended(3, "external"), Resumed(3)
    assert rebuild_os_snapshot_from_events([suspended]).suspended
    ended = rebuild_os_snapshot_from_events([suspended, resumed])
    assert not ended.suspended
    assert (ended.last_suspend.turn, ended.last_resumed_turn) == (3, 3)
    assert rebuild_os_snapshot_from_events([suspended, resumed, suspended]).suspended


async def test_h4_a_task_that_was_resumed_is_not_suspended_in_the_log():
    async with kernel_of(Memory().storage, PROGRAMS) as kernel:
        await kernel.submit("wait", task_id="w")
        await kernel.idle()
        assert kernel.event_log.view().suspended
        await kernel.resume("w")
        await kernel.join("w")
        assert not kernel.event_log.view().suspended
