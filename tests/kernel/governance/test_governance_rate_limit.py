"""Rate windows: one durable slot for each call, however the clock goes."""

from governance_kit import CALLER, call, governed, judge, rules, verdict
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.kernel.governance.rate_limit import RateOutcome, RateWindows, Window
from kernelckpt.model.governance import (
    MEMORY_WRITES,
    Allow,
    RateLimit,
    RateLimited,
    RateSlot,
    ResourceQuota,
    ToolRateLimit,
)


def three_in(window_ms=1000, tool="read"):
    return governed(rate_limits=(ToolRateLimit(tool, 3, window_ms),))


def windows(**limits):
    return RateWindows({name: Window(*limit) for name, limit in limits.items()}.get)


def test_fourth_of_three_is_limited():
    governance = three_in()
    assert [verdict(governance, now_ms=at) for at in (10, 20, 30)] == [Allow()] * 3
    assert verdict(governance, now_ms=40) == RateLimited(10 + 1000 - 40)


def test_window_expiry_readmits():
    governance = three_in()
    for at in (10, 20, 30):
        judge(governance, now_ms=at)
    assert verdict(governance, now_ms=1010) == RateLimited(0)
    assert verdict(governance, now_ms=1011) == Allow()
    assert verdict(governance, now_ms=1011) == RateLimited(9)


def test_the_default_limit_stops_the_61st_call_of_one_tool():
    governance = governed()
    assert {verdict(governance, now_ms=0) for _ in range(60)} == {Allow()}
    assert verdict(governance, now_ms=0) == RateLimited(60_000)
    assert verdict(governance, "write", now_ms=0) == Allow()


def test_no_default_limit():
    governance = governed(default_rate_limit=None)
    judgements = [judge(governance) for _ in range(100)]
    assert {judgement.verdict for judgement in judgements} == {Allow()}
    assert {judgement.taken for judgement in judgements} == {None}


def test_an_explicit_limit_takes_the_place_of_the_default():
    governance = governed(default_rate_limit=RateLimit(1, 10), rate_limits=(ToolRateLimit("read", 2, 10),))
    assert [type(verdict(governance)) for _ in range(3)] == [Allow, Allow, RateLimited]


def test_a_spawn_has_an_explicit_limit_or_none():
    governance = governed(default_rate_limit=RateLimit(1, 10))
    assert [verdict(governance, "spawn") for _ in range(3)] == [Allow()] * 3
    assert judge(governance, "spawn").taken is None
    limited = governed(rate_limits=(ToolRateLimit("spawn", 1, 10),))
    assert [type(verdict(limited, "spawn")) for _ in range(2)] == [Allow, RateLimited]


def test_a_limited_call_takes_no_slot():
    governance = governed(rate_limits=(ToolRateLimit("read", 1, 100),))
    assert judge(governance, now_ms=0).taken == (1, RateSlot("read", 0))
    assert [judge(governance, now_ms=at).taken for at in (50, 100)] == [None, None]
    assert judge(governance, now_ms=101).taken == (2, RateSlot("read", 101))


def test_a_limit_of_zero_never_has_room():
    governance = governed(rate_limits=(ToolRateLimit("read", 0, 100),))
    assert [verdict(governance, now_ms=at) for at in (0, 1000)] == [RateLimited(100)] * 2


def test_evicted_slots_are_given_back_once_whatever_their_name():
    counted = windows(a=(5, 10), b=(5, 100))
    for at, name in ((0, "a"), (1, "b"), (2, "a")):
        counted.check_and_take(name, at)
    assert counted.check_and_take("b", 10).evicted == ()
    assert counted.check_and_take("b", 13).evicted == (1, 3)
    assert counted.check_and_take("b", 14).evicted == ()
    assert counted.check_and_take("a", 200).evicted == (2, 4, 5, 6)


def test_slots_outlive_the_process():
    governance = three_in()
    kept = dict(judge(governance, now_ms=at).taken for at in (10, 20, 30))
    again = three_in()
    again.windows.load(kept)
    assert verdict(again, now_ms=40) == verdict(governance, now_ms=40) == RateLimited(970)
    judgement = judge(again, now_ms=1011)
    assert judgement.taken == (4, RateSlot("read", 1011))
    assert judgement.evicted == (1,)


def test_numbers_go_on_after_the_greatest_loaded():
    counted = windows(a=(9, 10))
    counted.load({7: RateSlot("a", 5), 3: RateSlot("a", 6)})
    assert counted.check_and_take("a", 6).taken == (8, RateSlot("a", 6))
    counted.load({})
    assert counted.check_and_take("a", 6).taken == (9, RateSlot("a", 6))


def test_loading_takes_the_place_of_what_was_counted():
    counted = windows(a=(1, 10))
    counted.check_and_take("a", 0)
    counted.load({})
    outcome = counted.check_and_take("a", 0)
    assert outcome == RateOutcome(None, (2, RateSlot("a", 0)), ())


def test_slots_of_a_name_without_a_limit_are_evicted_at_once():
    governance = governed(default_rate_limit=None)
    governance.windows.load({4: RateSlot("read", 5), 2: RateSlot("gone", 9), 3: RateSlot("read", 7)})
    assert sorted(judge(governance, "other", now_ms=6).evicted) == [2, 3, 4]


def test_a_lowered_limit_says_when_there_is_room():
    governance = governed(rate_limits=(ToolRateLimit("read", 1, 100),))
    governance.windows.load({number: RateSlot("read", number) for number in (1, 2, 3)})
    assert verdict(governance, now_ms=10) == RateLimited(3 + 100 - 10)


def test_a_clock_set_back_lifts_no_limit():
    governance = governed(rate_limits=(ToolRateLimit("read", 2, 100),))
    judge(governance, now_ms=1000)
    assert verdict(governance, now_ms=500) == Allow()
    assert verdict(governance, now_ms=550) == RateLimited(50)
    judgement = judge(governance, now_ms=601)
    assert judgement.verdict == Allow()
    assert judgement.evicted == (2,)
    assert verdict(governance, now_ms=602) == RateLimited(99)


def test_rate_and_permission_look_at_the_same_call():
    governance = governed(rules=rules(read="ask_user"), rate_limits=(ToolRateLimit("read", 1, 100),))
    first, second = judge(governance), judge(governance)
    assert first.verdict == second.verdict
    assert (first.taken is None, second.taken is None) == (False, True)


# memory writes


def test_memory_write_quota_open():
    judgement = governed().evaluate_memory_write("root", 5)
    assert judgement.verdict == Allow()
    assert judgement.taken is None
    assert judgement.audit.tool == MEMORY_WRITES


def test_memory_write_quota_limits_within_the_window():
    governance = governed(quota=ResourceQuota(memory_writes_per_window=(2, 100)))
    first = governance.evaluate_memory_write("m1", 0)
    assert first.taken == (1, RateSlot(MEMORY_WRITES, 0))
    assert governance.evaluate_memory_write("m2", 10).verdict == Allow()
    limited = governance.evaluate_memory_write("m3", 20)
    assert limited.verdict == RateLimited(80)
    assert limited.stage == limited.audit.stage == "quota"
    assert limited.audit.call_id == "m3"
    assert limited.taken is None


def test_memory_write_quota_readmits_when_a_write_is_as_old_as_the_window():
    governance = governed(quota=ResourceQuota(memory_writes_per_window=(1, 100)))
    governance.evaluate_memory_write("m", 0)
    assert governance.evaluate_memory_write("m", 99).verdict == RateLimited(1)
    readmitted = governance.evaluate_memory_write("m", 100)
    assert readmitted.verdict == Allow()
    assert readmitted.evicted == (1,)


def test_memory_writes_do_not_count_as_calls():
    governance = governed(
        default_rate_limit=RateLimit(1, 100), quota=ResourceQuota(memory_writes_per_window=(1, 100))
    )
    governance.evaluate_memory_write("m", 0)
    assert governance.evaluate(call("write"), CALLER, 0).verdict == Allow()


# against a model


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=60),
    st.integers(0, 3),
    st.integers(1, 10),
    st.booleans(),
    st.integers(0, 60),
)
def test_windows_are_those_of_a_list_of_times(steps, max_calls, length_ms, is_inclusive, restart):
    window = Window(max_calls, length_ms, is_inclusive)
    counted, model, kept = RateWindows(lambda _name: window), [], {}
    for index, (name, now) in enumerate(steps):
        if index == restart:
            counted = RateWindows(lambda _name: window)
            counted.load(kept)
        model = [(n, at) for n, at in model if now - at < length_ms + is_inclusive]
        times = sorted(at for n, at in model if n == name)
        outcome = counted.check_and_take(name, now)
        for number in outcome.evicted:
            del kept[number]
        if len(times) < max_calls:
            assert outcome.retry_after_ms is None
            number, slot = outcome.taken
            assert slot == RateSlot(name, now)
            assert number not in kept
            kept[number] = slot
            model.append((name, now))
        else:
            assert outcome.taken is None
            assert outcome.retry_after_ms == (times[0] + length_ms - now if max_calls else length_ms)
        assert sorted((slot.name, slot.at_ms) for slot in kept.values()) == sorted(model)
