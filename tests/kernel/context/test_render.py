"""Rendering of a context."""

from __future__ import annotations

import pytest
from context_kit import HISTORIES, answer, calling, counted, exchange, outputs, parts_no_pair, say, seen, user
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.plan import format_compact
from kernelckpt.kernel.context.render import RenderedContext, render
from kernelckpt.kernel.context.tokens import sum_tokens, tokens_of
from kernelckpt.model.context import Plan
from kernelckpt.model.message import Message


def run(history=(), *, plan=None, signals=(), system=(), knowledge=(), handles=(), max_tokens=10_000):
    return render(
        system=system,
        knowledge=knowledge,
        history=history,
        plan=plan or Plan(),
        signals=signals,
        handles=handles,
        max_tokens=max_tokens,
    )


def test_nothing_renders_to_nothing():
    assert run() == RenderedContext("", "", "", ())


def test_system_texts_are_apart_and_together():
    system = [Message.system("be good"), Message.system(""), Message.system("be brief")]
    found = run(system=system, knowledge=[Message.system("the sky is blue")])
    assert found.system_stable == "be good\n\nbe brief"
    assert found.system_knowledge == "the sky is blue"
    assert found.system_text == "be good\n\nbe brief\n\nthe sky is blue"
    assert found.turns == ()
    assert run(knowledge=[Message.system("k")]).system_text == "k"


def test_the_state_is_the_first_turn():
    plan = Plan(goal="ship", directives=("be brief",))
    found = run([say(3)], plan=plan, signals=["[SIGNAL] one", "[SIGNAL] two"])
    state, said = found.turns
    assert state == Message.user(f"{format_compact(plan)}\n[SIGNAL] one\n[SIGNAL] two")
    assert said == say(3)


def test_signals_alone_make_a_state_turn_and_stay():
    signals = ["[SIGNAL] one"]
    assert run(signals=signals).turns == (Message.user("[SIGNAL] one"),)
    assert run(signals=signals).turns == (Message.user("[SIGNAL] one"),)


def test_directives_are_rendered():
    text = run(plan=Plan(goal="ship").with_directive("answer in French")).turns[0].content
    assert "answer in French" in text


@pytest.mark.parametrize(("budget", "shown"), [(0, 0), (9, 0), (10, 1), (29, 1), (30, 3), (129, 3), (130, 4)])
def test_history_is_chosen_newest_first_within_the_budget(budget, shown):
    history = [user(100), *exchange("c", 19), say(10)]
    found = run(history, plan=Plan(goal="g"), max_tokens=budget)
    assert list(found.turns[1:]) == history[len(history) - shown :]
    assert found.omitted == len(history) - shown


def test_collapsed_results_are_previews():
    history = [message for number in range(10) for message in exchange(f"c{number}", 500)]
    handles = HandleTable.rebuild(seen(*history), (), 0.95)
    found = run(history, handles=handles, max_tokens=20_000)
    shown = outputs(found.turns)
    assert shown["c0"].startswith("r" * 160 + "\n[collapsed: the first 160 of 2000 characters]")
    assert shown["c5"] == shown["c0"]
    assert shown["c6"] == shown["c9"] == "r" * 2_000
    assert outputs(history)["c0"] == "r" * 2_000
    assert all(tokens_of(turn) < 60 for turn in found.turns[:12])


@pytest.mark.parametrize(("letter", "characters"), [("é", 80), ("漢", 53), ("😀", 40)])
def test_a_preview_is_cut_between_characters(letter, characters):
    history = [message for number in range(5) for message in exchange(f"c{number}", 500)]
    history[1] = answer("c0", 500, letter)
    shown = outputs(run(history, handles=HandleTable.rebuild(seen(*history), (), 0.95)).turns)
    assert shown["c0"].split("\n")[0] == letter * characters


def test_a_preview_is_never_longer_than_the_result():
    history = [message for number in range(5) for message in exchange(f"c{number}", 45)]
    shown = run(history, handles=HandleTable.rebuild(seen(*history), (), 0.95)).turns
    assert shown == tuple(history)


def test_more_fits_when_results_are_collapsed():
    history = [message for number in range(10) for message in exchange(f"c{number}", 500)]
    whole = HandleTable.rebuild(seen(*history), (), 0.1)
    assert run(history, handles=whole, max_tokens=2_500).omitted == 12
    assert run(history, handles=whole.recompute(0.95), max_tokens=2_500).omitted == 0


def test_a_given_count_shrinks_with_a_preview():
    history = [calling("c0"), counted(answer("c0", 500), 5_000)]
    history += [message for number in range(4) for message in exchange(f"d{number}")]
    shown = run(history, handles=HandleTable.rebuild(seen(*history), (), 0.95)).turns
    assert shown[1].token_count < 600


def test_a_call_id_used_again_collapses_only_the_older_result():
    history = [message for fill in "abcdef" for message in (calling("c"), answer("c", 500, fill))]
    shown = run(history, handles=HandleTable.rebuild(seen(*history), (), 0.95)).turns
    lengths = [len(outputs([message])["c"]) for message in shown[1::2]]
    assert max(lengths[:2]) < 300
    assert lengths[2:] == [2_000] * 4


@given(HISTORIES, st.integers(0, 5_000), st.sampled_from([0.1, 0.95]))
def test_of_any_history(messages, budget, pressure):
    found = run(messages, handles=HandleTable.rebuild(seen(*messages), (), pressure), max_tokens=budget)
    assert len(found.turns) + found.omitted == len(messages)
    assert parts_no_pair(messages, found.omitted)
    assert sum_tokens(found.turns) <= min(budget, sum_tokens(messages))
    if pressure < 0.9:
        assert found.turns == tuple(messages[found.omitted :])
