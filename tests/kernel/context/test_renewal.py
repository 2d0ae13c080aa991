"""Renewal of a context."""

from __future__ import annotations

import pytest
from context_kit import HISTORIES, answer, calling, exchange, outputs, parts_no_pair, seen, user
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.plan import format_compact
from kernelckpt.kernel.context.renewal import carryover_budget, renew
from kernelckpt.kernel.context.tokens import sum_tokens
from kernelckpt.model.context import CompressionNote, Context, Handoff, Plan, PlanStep
from kernelckpt.model.context_config import ContextConfig

PLAN = Plan(
    goal="ship",
    plan=(PlanStep("look", done=True), PlanStep("build")),
    progress="half way",
    scratchpad="try x",
    blocked_on=("key",),
    directives=("be brief",),
    preserved_refs=("c1",),
    compression_log=(CompressionNote("auto_compact", "gone"),),
)
CONTEXT = Context(system=2, knowledge=3, history=4, plan=PLAN, max_tokens=1_000, sprint=5)


def test_renewal_keeps_the_plan_but_the_scratchpad():
    renewed = renew(CONTEXT, []).context
    assert renewed.plan.scratchpad == ""
    assert (renewed.plan.goal, renewed.plan.open_steps) == ("ship", ("build",))
    assert renewed.plan.preserved_refs == ("c1",)
    assert renewed.plan.compression_log == PLAN.compression_log
    assert renewed.config == CONTEXT.config
    assert renewed.max_tokens == 1_000


def test_renewal_keeps_system_and_knowledge():
    renewed = renew(CONTEXT, [user(10)]).context
    assert (renewed.system, renewed.knowledge, renewed.history) == (2, 3, 4)


def test_user_directive_survives_renewal():
    context = Context(plan=Plan(goal="ship").with_directive("answer in French"))
    plan = renew(context, [user(9)]).context.plan
    assert plan.directives == ("answer in French",)
    assert "- answer in French" in format_compact(plan)


def test_a_handoff_tells_of_the_sprint_that_ended():
    renewed = renew(CONTEXT, [user(90), user(60), user(40)]).context
    assert renewed.sprint == 6
    assert renewed.last_handoff == Handoff("ship", 5, "half way", ("build",), ("key",), 3, 2)


def test_carryover_stays_within_its_budget():
    messages = [user(30, str(number)) for number in range(9)]
    found = renew(CONTEXT, messages)
    assert found.history == tuple(messages[-3:])
    assert found.archived == tuple(messages[:-3])


@pytest.mark.parametrize(
    ("max_tokens", "tokens"), [(0, 100), (1_000, 100), (2_000, 100), (2_039, 101), (128_000, 6_400)]
)
def test_the_budget_is_a_share_of_the_window_but_not_tiny(max_tokens, tokens):
    assert carryover_budget(ContextConfig(), max_tokens) == tokens


def test_the_first_that_does_not_fit_ends_it():
    messages = [user(1), user(101), user(99)]
    assert renew(CONTEXT, messages).history == tuple(messages[2:])
    assert renew(CONTEXT, [user(1), user(101)]).history == ()


def test_a_call_and_its_results_are_carried_together():
    messages = [calling("a", "b"), answer("a", 90), answer("b", 9), user(10)]
    assert renew(CONTEXT, messages).history == tuple(messages[3:])
    messages = [user(90), *exchange("a", 89), user(10)]
    assert renew(CONTEXT, messages).history == tuple(messages[1:])


def test_handles_are_pruned_after_renewal():
    messages = [message for number in range(9) for message in exchange(f"c{number}", 40)]
    table = HandleTable.rebuild(seen(*messages), {"c8"}, 0.99)
    kept = outputs(renew(CONTEXT, messages).history).keys()
    assert [item.source for item in table.prune(kept)] == ["c7", "c8"]


@given(HISTORIES, st.sampled_from([0, 4_000, 40_000]))
def test_of_any_history(messages, max_tokens):
    found = renew(Context(max_tokens=max_tokens), messages)
    assert found.archived + found.history == tuple(messages)
    assert parts_no_pair(messages, len(found.archived))
    assert sum_tokens(found.history) <= carryover_budget(ContextConfig(), max_tokens)
    assert found.context.last_handoff.carried_len == len(found.history)
    assert found.context.last_handoff.history_len == len(messages)
