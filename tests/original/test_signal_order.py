"""The original's tests of its signal router and its queue, restated."""

from original_kit import signal_of

from kernelckpt import Disposition, SignalRouter, Urgency


def test_critical_signal_interrupts_running():
    assert SignalRouter().ingest(signal_of(urgency=Urgency.CRITICAL), True) is Disposition.INTERRUPT_NOW


def test_low_signal_observed():
    assert SignalRouter().ingest(signal_of(urgency=Urgency.LOW), False) is Disposition.OBSERVE


def test_higher_urgency_dequeued_first():
    router = SignalRouter()
    for number, urgency in enumerate((Urgency.LOW, Urgency.CRITICAL, Urgency.NORMAL), 1):
        router.push(number, signal_of(urgency=urgency))
    popped = [router.next()[1].urgency for _ in range(3)]
    assert popped == [Urgency.CRITICAL, Urgency.NORMAL, Urgency.LOW]


def test_respects_max_size():
    router = SignalRouter(max_queue=1)
    assert router.push(1, signal_of("first"))
    assert not router.push(2, signal_of("second"))


def test_same_urgency_older_first():
    router = SignalRouter()
    router.push(1, signal_of(at=100))
    router.push(2, signal_of(at=1))
    assert router.next()[1].timestamp_ms == 1


def test_deduplicates_signals():
    router = SignalRouter()
    router.ingest(signal_of(key="k"), False)
    assert router.ingest(signal_of(key="k"), False) is Disposition.IGNORE


def test_normal_signal_queued():
    router, item = SignalRouter(), signal_of("tick")
    assert router.ingest(item, True) is Disposition.QUEUE
    assert router.depth == 1
    assert router.next()[1] == item


def test_interrupt_signals_not_queued():
    router = SignalRouter()
    assert router.ingest(signal_of(urgency=Urgency.CRITICAL), True) is Disposition.INTERRUPT_NOW
    assert router.depth == 0


def test_full_queue_drops_signal():
    router = SignalRouter(max_queue=1)
    assert router.ingest(signal_of("first"), True) is Disposition.QUEUE
    assert router.ingest(signal_of("second"), True) is Disposition.DROPPED


def test_clear_dedup_allows_reingest():
    router = SignalRouter()
    router.ingest(signal_of(key="k"), True)
    router.clear_dedup()
    assert router.ingest(signal_of(key="k"), True) is not Disposition.IGNORE
