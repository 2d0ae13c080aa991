"""How full a context is, and what is recommended."""

from __future__ import annotations

import pytest

from kernelckpt.kernel.context.pressure import (
    CompressionAction,
    effective_pressure,
    is_idle,
    raw_pressure,
    recommend,
)
from kernelckpt.kernel.context.renewal import should_renew
from kernelckpt.model.context import ContextMeter
from kernelckpt.model.context_config import ContextConfig

CONFIG = ContextConfig()
MINUTE = 60_000


def test_observed_tokens_go_before_the_estimate():
    assert raw_pressure(500, 1_000) == 0.5
    assert raw_pressure(500, 1_000, 900) == 0.9
    assert raw_pressure(500, 1_000, 0) == 0


def test_no_window_no_pressure():
    assert raw_pressure(500, 0) == 0
    assert raw_pressure(500, 0, 900) == 0


def test_handles_outside_are_discounted_from_the_estimate_only():
    assert effective_pressure(500, 1_000, 200) == 0.3
    assert effective_pressure(500, 1_000, 200, 900) == 0.9
    assert effective_pressure(100, 1_000, 200) == 0


@pytest.mark.parametrize(
    ("pressure", "action"),
    [
        (0.70, None),
        (0.71, "snip_compact"),
        (0.80, "snip_compact"),
        (0.81, "micro_compact"),
        (0.90, "micro_compact"),
        (0.91, "context_collapse"),
        (0.95, "context_collapse"),
        (0.96, "auto_compact"),
        (3.0, "auto_compact"),
    ],
)
def test_thresholds_must_be_exceeded(pressure, action):
    assert recommend(pressure, CONFIG) == action


def test_the_strongest_action_is_recommended_first():
    config = ContextConfig(snip_threshold=0.9, auto_threshold=0.1)
    assert recommend(0.2, config) is CompressionAction.AUTO_COMPACT


@pytest.mark.parametrize(
    ("activity", "compacted", "now", "idle"),
    [
        (0, None, 99 * MINUTE, False),
        (0, 1, 99 * MINUTE, False),
        (1, None, 60 * MINUTE, False),
        (1, None, 60 * MINUTE + 1, True),
        (1, 60 * MINUTE, 119 * MINUTE, False),
        (1, 60 * MINUTE, 120 * MINUTE, True),
        (1, 0, 59 * MINUTE, False),
        (99 * MINUTE, None, 1, False),
    ],
)
def test_idleness_is_whole_minutes_since_the_last_compression_or_activity(activity, compacted, now, idle):
    meter = ContextMeter(last_activity_ms=activity, last_compact_ms=compacted)
    assert is_idle(meter, CONFIG, now) is idle


def test_a_clock_that_ran_backwards_is_no_time():
    meter = ContextMeter(last_activity_ms=5 * MINUTE)
    assert is_idle(meter, ContextConfig(micro_compact_idle_minutes=0), 1)
    assert not is_idle(meter, ContextConfig(micro_compact_idle_minutes=1), 1)


def test_renewal_threshold_must_be_exceeded():
    assert not should_renew(0.98, CONFIG)
    assert should_renew(0.981, CONFIG)
