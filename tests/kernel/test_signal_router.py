"""Routing of signals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.signal_router import SignalRouter, UrgencyPolicy, run_priority
from kernelckpt.model.signal import (
    Disposition,
    RunPriority,
    RuntimeSignal,
    SignalSource,
    SignalType,
    Urgency,
)


def signal(urgency=Urgency.NORMAL, summary="", *, key=None, at=0, **more):
    return RuntimeSignal(
        SignalSource.CUSTOM, SignalType.EVENT, urgency, summary, dedupe_key=key, timestamp_ms=at, **more
    )


def summaries(queued):
    return [item.summary for _, item in queued]


def test_critical_signal_interrupts_running():
    assert SignalRouter().ingest(signal(Urgency.CRITICAL), True) is Disposition.INTERRUPT_NOW


def test_low_signal_observed():
    assert SignalRouter().ingest(signal(Urgency.LOW), False) is Disposition.OBSERVE


def test_higher_urgency_dequeued_first():
    router = SignalRouter()
    for number, urgency in enumerate((Urgency.LOW, Urgency.CRITICAL, Urgency.NORMAL), 1):
        assert router.push(number, signal(urgency))
    assert [router.next()[1].urgency.value for _ in range(3)] == ["critical", "normal", "low"]
    assert router.next() is None


def test_respects_max_size():
    router = SignalRouter(1)
    assert router.push(1, signal())
    assert not router.push(2, signal())


def test_same_urgency_older_first():
    router = SignalRouter()
    router.push(1, signal(at=100))
    router.push(2, signal(at=1))
    assert router.next()[1].timestamp_ms == 1


def test_deduplicates_signals():
    router = SignalRouter()
    assert router.ingest(signal(key="k"), True) is Disposition.QUEUE
    assert router.ingest(signal(key="k"), True) is Disposition.IGNORE
    assert router.seen == {"k"}


def test_normal_signal_queued():
    router = SignalRouter()
    item = signal()
    assert router.ingest(item, False) is Disposition.QUEUE
    assert router.depth == 1
    assert router.next() == (1, item)


def test_interrupt_signals_not_queued():
    router = SignalRouter()
    assert router.ingest(signal(Urgency.CRITICAL), True) is Disposition.INTERRUPT_NOW
    assert router.depth == 0


def test_full_queue_drops_signal():
    router = SignalRouter(1)
    assert router.ingest(signal(), True) is Disposition.QUEUE
    assert router.ingest(signal(Urgency.NORMAL), True) is Disposition.DROPPED


def test_clear_dedup_allows_reingest():
    router = SignalRouter()
    router.ingest(signal(key="k"), True)
    router.clear_dedup()
    assert router.ingest(signal(key="k"), True) is not Disposition.IGNORE
    assert router.depth == 2


def test_a_dropped_signal_may_be_sent_again():
    router = SignalRouter(1)
    router.ingest(signal(summary="first"), True)
    assert router.ingest(signal(summary="second", key="k"), True) is Disposition.DROPPED
    assert router.seen == frozenset()
    router.next()
    assert router.ingest(signal(summary="second", key="k"), True) is Disposition.QUEUE


@pytest.mark.parametrize(
    ("urgency", "running", "disposition", "priority"),
    [
        (Urgency.CRITICAL, False, Disposition.RUN, RunPriority.CRITICAL),
        (Urgency.HIGH, False, Disposition.RUN, RunPriority.HIGH),
        (Urgency.HIGH, True, Disposition.INTERRUPT, RunPriority.HIGH),
        (Urgency.NORMAL, True, Disposition.QUEUE, None),
        (Urgency.LOW, True, Disposition.OBSERVE, None),
    ],
)
def test_default_policy(urgency, running, disposition, priority):
    assert UrgencyPolicy().decide(signal(urgency), is_running=running) is disposition
    assert run_priority(urgency) == priority


def test_the_policy_can_be_replaced():
    class Deaf:
        def decide(self, signal, *, is_running):
            return Disposition.IGNORE

    router = SignalRouter(policy=Deaf())
    assert router.ingest(signal(Urgency.CRITICAL, key="k"), True) is Disposition.IGNORE
    assert router.seen == frozenset()


def test_a_full_tie_gives_the_greater_id_first():
    router = SignalRouter()
    for number, name in enumerate(("b", "c", "a"), 1):
        router.push(number, signal(id=name))
    assert [item.id for _, item in router.drain()] == ["c", "b", "a"]
    assert router.depth == 0


def test_numbers_are_given_or_taken():
    router = SignalRouter()
    router.ingest(signal(summary="given", at=1), True, 7)
    router.ingest(signal(summary="taken", at=2), True)
    assert [number for number, _ in router.queued] == [7, 8]
    with pytest.raises(InvalidValueError, match="7"):
        router.push(7, signal())
    router.discard(7)
    router.discard(99)
    assert summaries(router.queued) == ["taken"]


def test_restore_keeps_the_queue_and_forgets_the_keys():
    router = SignalRouter(2)
    for at in (3, 1):
        router.ingest(signal(summary=str(at), key=str(at), at=at), True)
    again = SignalRouter.restore(router.queued, max_queue=1)
    assert again.queued == router.queued
    assert again.seen == frozenset()
    assert again.max_queue == 1
    assert again.ingest(signal(), True) is Disposition.DROPPED
    again.drain()
    again.ingest(signal(summary="next"), True)
    assert [number for number, _ in again.queued] == [3]


SIGNALS = st.builds(signal, st.sampled_from(Urgency), at=st.integers(0, 3), id=st.sampled_from("abc"))


@given(st.lists(SIGNALS, max_size=20))
def test_the_queue_is_ordered(items):
    router = SignalRouter(100)
    for number, item in enumerate(items):
        router.push(number, item)
    by_id = sorted(enumerate(items), key=lambda pair: pair[1].id, reverse=True)
    expected = sorted(by_id, key=lambda pair: (-pair[1].urgency.rank, pair[1].timestamp_ms))
    assert [item for _, item in router.drain()] == [item for _, item in expected]
