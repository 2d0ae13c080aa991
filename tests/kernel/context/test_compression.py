"""Compression of a history."""

from __future__ import annotations

import pytest
from context_kit import (
    CALL_IDS,
    HISTORIES,
    answer,
    calling,
    counted,
    exchange,
    outputs,
    pairs,
    parts_no_pair,
    seen,
    user,
)
from hypothesis import example, given
from hypothesis import strategies as st

from kernelckpt.kernel.context.compression import compress, protected_tail
from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.plan import format_compact, with_notes
from kernelckpt.kernel.context.pressure import CompressionAction
from kernelckpt.kernel.context.spool import marker_of, preview
from kernelckpt.kernel.context.tokens import count, sum_tokens, tokens_of
from kernelckpt.model.context import Plan
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.message import Image, Message, Text, ToolResultPart

CONFIG = ContextConfig()
SNIP, MICRO, COLLAPSE, AUTO = CompressionAction


def run(messages, action, *, max_tokens=1_000, preserved=(), config=CONFIG, **more):
    plan = Plan(preserved_refs=tuple(preserved))
    return compress(messages, plan, config=config, max_tokens=max_tokens, action=action, **more)


def is_same(messages, others):
    return len(messages) == len(others) and all(a is b for a, b in zip(messages, others, strict=True))


# snip


def test_snip_cuts_the_middle_of_oversized_messages():
    long = Message.user("start " + "x" * 4_000 + " end")
    found = run([user(10), long], SNIP)
    assert found.actions == (SNIP,)
    small, cut = found.messages
    assert small.content == "u" * 40
    assert cut.content.startswith("start xxx")
    assert cut.content.endswith("xxx end")
    assert f"of {len(long.content)} characters left out" in cut.content
    assert count(cut.content) <= 50
    assert cut.token_count == 50
    assert found.archived == ()
    assert [note.action for note in found.notes] == ["snip_compact"]
    assert "cut 1 messages of more than 50 tokens, 1012 -> 60 tokens" in found.notes[0].summary


@pytest.mark.parametrize(("max_tokens", "cap"), [(100, 50), (1_000, 50), (10_000, 500), (10_010, 500)])
def test_the_cap_is_a_share_of_the_window_but_not_tiny(max_tokens, cap):
    at_the_cap, above = user(cap), user(cap + 1)
    found = run([at_the_cap, above, user(3 * max_tokens)], SNIP, max_tokens=max_tokens)
    assert found.messages[0] is at_the_cap
    assert [message.token_count for message in found.messages] == [None, cap, cap]


def test_snip_goes_by_the_given_count():
    long, short = counted(user(250, "漢"), 1_000), counted(user(1), 900)
    found = run([long, short], SNIP)
    assert found.messages[0].token_count == 50
    assert found.messages[0].content.count("漢") == 25
    assert found.messages[1] is short


def test_snip_keeps_parts_what_they_are():
    parts = [Text("t" * 4_000), Image("url"), ToolResultPart("c", "r" * 4_000, is_error=True)]
    (cut,) = run([Message.tool(parts)], SNIP).messages
    text, image, result = cut.content
    assert len(text.text) < 4_000
    assert image is parts[1]
    assert (result.call_id, result.is_error) == ("c", True)
    assert 0 < len(result.output) < 4_000
    assert cut.token_count == 50


def test_snip_leaves_preserved_results_whole():
    found = run([Message.tool([ToolResultPart("c", "r" * 4_000), Text("t" * 4_000)])], SNIP, preserved=["c"])
    (cut,) = found.messages
    assert cut.content[0].output == "r" * 4_000
    assert len(cut.content[1].text) < 200
    assert 1_000 <= cut.token_count < 1_100


# micro


def test_micro_keeps_results_results_of_their_calls():
    output = "head of it " + "r" * 4_000
    long = Message.tool_result("c", output, is_error=True)
    messages = [calling("c"), long, user(1_000)]
    found = run(messages, MICRO, max_tokens=30_000, force=True)
    assert is_same(found.messages[::2], messages[::2])
    part = found.messages[1].content[0]
    assert (part.call_id, part.is_error) == ("c", True)
    assert part.output.startswith("head of it rrr")
    assert f"of {len(output)} characters left out" in part.output
    assert tokens_of(found.messages[1]) <= 50
    assert (
        found.notes[0].summary
        == f"reduced large tool results in 1 messages, 2003 -> {found.tokens_after} tokens"
    )


@pytest.mark.parametrize(("tokens", "reduced"), [(199, False), (200, True)])
def test_micro_reduces_results_from_200_tokens_on(tokens, reduced):
    found = run([*exchange("c", tokens)], MICRO, max_tokens=100_000, force=True)
    assert (found.actions == (MICRO,)) is reduced
    assert (found.tokens_after < 200) is reduced
    assert (outputs(found.messages)["c"] == "r" * 4 * tokens) is not reduced


def test_micro_leaves_preserved_results_whole():
    messages = [*exchange("keep", 800), *exchange("cut", 800)]
    found = run(messages, MICRO, max_tokens=100_000, force=True, preserved=["keep"])
    assert is_same(found.messages[:3], messages[:3])
    assert len(outputs(found.messages)["cut"]) <= 200


def test_micro_lowers_a_given_count_in_proportion():
    (_, cut) = run(
        [calling("c"), counted(answer("c", 1_000), 4_000)], MICRO, max_tokens=100_000, force=True
    ).messages
    assert cut.token_count == 4_000 * count(outputs([cut])["c"]) // 1_000
    assert cut.token_count < 100


def test_micro_reduces_nothing_twice():
    once = run([*exchange("c", 800)], MICRO, max_tokens=100_000, force=True)
    again = run(once.messages, MICRO, max_tokens=100_000, force=True)
    assert again.actions == ()
    assert is_same(again.messages, once.messages)


def test_micro_keeps_the_marker_of_a_spooled_result():
    text = preview("r" * 60_000, CONFIG).text
    messages = [calling("c"), Message.tool_result("c", text)]
    found = run(messages, MICRO, max_tokens=100_000, force=True)
    assert marker_of(text)
    assert marker_of(outputs(found.messages)["c"]) == marker_of(text)
    assert len(outputs(found.messages)["c"]) < 400


def test_the_newest_results_are_reduced_only_when_older_ones_are_not_enough():
    messages = [*exchange("old", 300), *exchange("a", 300), *exchange("b", 300)]
    found = run(messages, MICRO, max_tokens=1_200, config=ContextConfig(snip_per_msg_ratio=1.0))
    assert found.tokens_after <= 780
    assert is_same(found.messages[2:], messages[2:])
    harder = run(messages, MICRO, max_tokens=300, config=ContextConfig(snip_per_msg_ratio=1.0))
    assert all(len(output) <= 200 for output in outputs(harder.messages).values())


# collapse and auto


def test_collapse_drops_the_oldest_down_to_the_target():
    messages = [user(40, str(number % 10)) for number in range(30)]
    found = run(messages, COLLAPSE)
    assert sum_tokens(found.messages) == 640
    assert is_same(found.archived + found.messages, messages)
    assert len(found.archived) == 14
    assert found.actions == (COLLAPSE,)
    assert (found.tokens_before, found.tokens_after) == (1_200, 640)


def test_collapse_never_drops_the_newest():
    messages = [user(40) for _ in range(10)]
    found = run(messages, COLLAPSE, max_tokens=100)
    assert is_same(found.messages, messages[-4:])


def test_auto_drops_all_but_the_newest():
    messages = [user(40) for _ in range(10)]
    found = run(messages, AUTO, other_tokens=900)
    assert is_same(found.messages, messages[-4:])
    assert is_same(found.archived, messages[:6])
    assert found.actions == (AUTO,)


def test_collapse_looks_at_the_history_auto_at_the_context():
    messages = [user(40) for _ in range(20)]
    found = run(messages, COLLAPSE, other_tokens=900)
    assert len(found.messages) == 16
    assert len(run(messages, AUTO, other_tokens=900).messages) == 4


@pytest.mark.parametrize(("messages", "turns", "tail"), [(4, 2, 4), (7, 2, 7), (1, 3, 6), (0, 0, 0)])
def test_the_larger_promise_is_kept(messages, turns, tail):
    config = ContextConfig(preserve_recent_msgs=messages, preserve_recent_turns=turns)
    assert protected_tail(config) == tail
    assert len(run([user(9) for _ in range(20)], AUTO, config=config, force=True).messages) == tail


def test_a_group_that_reaches_into_the_tail_is_kept_whole():
    messages = [user(40), calling("a", "b", "c", "d", "e"), *map(answer, "abcde")]
    found = run(messages, AUTO, force=True)
    assert is_same(found.messages, messages[1:])


def test_a_call_and_its_results_are_dropped_together():
    messages = [*exchange("a", 40), *exchange("b", 40), *(user(10) for _ in range(4))]
    found = run(messages, COLLAPSE, max_tokens=126)
    assert len(found.archived) == 2
    assert outputs(found.messages).keys() == {"b"}


def test_what_is_archived_is_as_it_was():
    messages = [*exchange("a", 500), *(user(10) for _ in range(4))]
    found = run(messages, AUTO, force=True)
    assert found.actions == (SNIP, COLLAPSE)
    assert is_same(found.archived, messages[:2])


# stages


def test_nothing_is_done_below_the_target():
    messages = [user(600), *exchange("c", 49)]
    found = run(messages, AUTO)
    assert is_same(found.messages, messages)
    assert (found.actions, found.notes, found.archived) == ((), (), ())
    assert found.tokens_before == found.tokens_after == 650


def test_stages_stop_once_the_target_is_reached():
    messages = [user(700), *(user(50) for _ in range(10))]
    found = run(messages, AUTO)
    assert found.actions == (SNIP,)
    assert found.tokens_after == 550


def test_stages_run_up_to_the_action():
    messages = [user(700), *exchange("c", 400), *(user(40) for _ in range(30))]
    by_action = {action: run(messages, action).actions for action in CompressionAction}
    assert by_action == {
        SNIP: (SNIP,),
        MICRO: (SNIP,),
        COLLAPSE: (SNIP, COLLAPSE),
        AUTO: (SNIP, COLLAPSE),
    }


def test_force_goes_as_far_as_the_stages_go():
    messages = [user(60), *exchange("c", 2), *(user(2) for _ in range(6))]
    assert run(messages, AUTO).actions == ()
    found = run(messages, AUTO, force=True)
    assert found.actions == (SNIP, COLLAPSE)
    assert is_same(found.messages, messages[-4:])


def test_the_target_shrinks_when_the_provider_counts_more():
    messages = [user(40) for _ in range(10)]
    assert run(messages, COLLAPSE).actions == ()
    assert run(messages, COLLAPSE, observed_tokens=400).actions == ()
    found = run(messages, COLLAPSE, observed_tokens=800)
    assert found.tokens_after == 320


def test_the_target_does_not_grow_when_the_provider_counts_less():
    messages = [user(40) for _ in range(20)]
    assert run(messages, COLLAPSE, observed_tokens=400).tokens_after == 640


def test_an_empty_history_is_left_alone():
    found = run([], AUTO, force=True, other_tokens=99)
    assert (found.messages, found.notes, found.tokens_after) == ((), (), 99)


def test_handles_are_pruned_after_compression():
    messages = [message for number in range(10) for message in exchange(f"c{number}", 40)]
    table = HandleTable.rebuild(seen(*messages), (), 0.5)
    found = run(messages, AUTO, force=True)
    assert [item.source for item in table.prune(outputs(found.messages).keys())] == ["c8", "c9"]


# summaries


def test_a_summary_says_what_was_dropped():
    messages = [
        Message.user("  find the bug\nin this file"),
        *exchange("a", 199),
        calling("b", name="edit"),
        answer("b", 199),
        Message.assistant("it was x" + "x" * 200),
        *(user(10) for _ in range(4)),
    ]
    (note,) = run(messages, COLLAPSE, max_tokens=100_000, force=True).notes
    assert note.summary.startswith("dropped 6 messages (1 user, 3 assistant, 2 tool; ")
    assert "tools called: look x1, edit x1" in note.summary
    assert "user: find the bug |" in note.summary
    assert "assistant: it was x" in note.summary
    assert "x" * 100 not in note.summary
    assert "\n" not in note.summary


def test_a_summary_is_bounded_and_says_when_it_is_cut():
    messages = [Message.user(f"{number} " + "line " * 30) for number in range(1_000)]
    found = run(messages, AUTO, force=True)
    (note,) = found.notes[-1:]
    assert note.summary.startswith("dropped 996 messages (996 user; ")
    assert note.summary.endswith(" | ...")
    assert count(note.summary) <= 256


def test_a_summary_costs_less_than_what_it_stands_for():
    messages = [Message.user(f"{number} " + "line " * 30) for number in range(20)]
    found = run(messages, AUTO, force=True)
    plan = Plan(goal="g")
    noted = format_compact(with_notes(plan, found.notes))
    dropped = sum_tokens(found.archived)
    assert count(noted) - count(format_compact(plan)) < dropped // 3


def test_a_summary_names_only_so_many_tools():
    messages = [
        message for n in range(20) for message in (calling(f"c{n}", name=f"t{n}"), answer(f"c{n}", 99))
    ]
    found = run(messages, AUTO, max_tokens=300, config=ContextConfig(snip_per_msg_ratio=1.0), force=True)
    assert "t7 x1 and 10 more" in found.notes[-1].summary


# any history


@given(
    messages=HISTORIES,
    action=st.sampled_from(CompressionAction),
    max_tokens=st.sampled_from([0, 10, 400, 3_000, 100_000]),
    preserved=st.lists(CALL_IDS, max_size=2),
    tail=st.integers(0, 5),
    force=st.booleans(),
)
@example(messages=[], action=AUTO, max_tokens=0, preserved=[], tail=0, force=True)
def test_of_any_history(*, messages, action, max_tokens, preserved, tail, force):
    config = ContextConfig(preserve_recent_msgs=tail, preserve_recent_turns=0)
    found = run(
        messages,
        action,
        max_tokens=max_tokens,
        preserved=preserved,
        config=config,
        force=force,
        other_tokens=7,
    )
    cut = len(found.archived)
    assert is_same(found.archived, messages[:cut])
    assert len(found.messages) == len(messages) - cut
    assert parts_no_pair(messages, cut)
    assert pairs(found.messages) == {(a - cut, b - cut) for a, b in pairs(messages) if a >= cut}
    assert len(found.messages) >= min(tail, len(messages))
    assert found.tokens_before == 7 + sum_tokens(messages)
    assert found.tokens_after == 7 + sum_tokens(found.messages) <= found.tokens_before
    assert [note.action for note in found.notes] == [action.value for action in found.actions]
    for before, after in zip(messages[cut:], found.messages, strict=True):
        assert tokens_of(after) <= tokens_of(before)
        assert (after.role, after.tool_calls) == (before.role, before.tool_calls)
        for call_id in preserved:
            assert outputs([after]).get(call_id) == outputs([before]).get(call_id)
    if not found.actions:
        assert is_same(found.messages, messages)
