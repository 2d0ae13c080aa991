"""The goal/plan record: its changes, and how an agent is shown it."""

from __future__ import annotations

from kernelckpt.kernel.context.plan import MAX_NOTES, format_compact, with_notes
from kernelckpt.kernel.context.plan_update import PlanUpdate
from kernelckpt.model.context import CompressionNote, Plan, PlanStep

FULL = Plan(
    goal="ship",
    criteria=("tests pass", "docs"),
    plan=(PlanStep("look", done=True), PlanStep("build"), PlanStep("test")),
    current_step=1,
    progress="half way",
    scratchpad="try x",
    blocked_on=("key", "host"),
    directives=("be brief", "ask first"),
    compression_log=tuple(CompressionNote("snip_compact", f"note {n}") for n in range(5)),
)


def test_all_of_it_in_order():
    assert format_compact(FULL).splitlines() == [
        "[TASK STATE] goal: ship",
        "criteria: tests pass; docs",
        "active_directives:",
        "- be brief",
        "- ask first",
        "plan:",
        "1. [done] look",
        "2. [active] build",
        "3. [todo] test",
        "progress: half way",
        "blocked_on: key; host",
        "scratchpad: try x",
        "compressed:",
        "- snip_compact: note 2",
        "- snip_compact: note 3",
        "- snip_compact: note 4",
    ]


def test_directives_render_after_the_goal():
    lines = format_compact(Plan(goal="g", directives=("d",))).splitlines()
    assert lines == ["[TASK STATE] goal: g", "active_directives:", "- d"]


def test_directives_alone_do_not_render():
    assert format_compact(Plan()) == ""
    assert format_compact(Plan(directives=("d",), scratchpad="s", criteria=("c",))) == ""
    assert format_compact(Plan(progress="p")) == "[TASK STATE] goal: \nprogress: p"
    assert "1. [todo] s" in format_compact(Plan(plan=(PlanStep("s"),)))


def test_a_step_that_is_done_is_not_active():
    assert "1. [done] s" in format_compact(Plan(plan=(PlanStep("s", done=True),), current_step=0))


def test_open_steps_exclude_done():
    assert FULL.open_steps == ("build", "test")


def test_directives_reissued_move_to_newest_are_capped_and_blank_ignored():
    plan = Plan()
    for number in range(9):
        plan = plan.with_directive(f" d{number} ")
    assert plan.directives == tuple(f"d{number}" for number in range(1, 9))
    assert plan.with_directive("d3").directives[-2:] == ("d8", "d3")
    assert plan.with_directive("  ") is plan


def test_update_replaces_what_is_given():
    update = PlanUpdate(plan=("one", "two"), progress="", blocked_on=(), preserved_refs=("c1",))
    changed = update.applied_to(FULL)
    assert changed.plan == (PlanStep("one"), PlanStep("two"))
    assert (changed.progress, changed.blocked_on, changed.preserved_refs) == ("", (), ("c1",))
    assert (changed.goal, changed.criteria, changed.current_step) == ("ship", ("tests pass", "docs"), 1)
    assert changed.directives == FULL.directives
    assert changed.compression_log == FULL.compression_log
    assert PlanUpdate(current_step=None).applied_to(FULL).current_step is None
    assert PlanUpdate().applied_to(FULL) == FULL


def test_update_caps_directives():
    changed = PlanUpdate(directives=tuple(f"d{number}" for number in range(12))).applied_to(FULL)
    assert changed.directives == tuple(f"d{number}" for number in range(4, 12))


def test_notes_are_kept_newest_last_and_bounded():
    plan = FULL
    for number in range(MAX_NOTES):
        plan = with_notes(plan, [CompressionNote("auto_compact", str(number))])
    assert len(plan.compression_log) == MAX_NOTES
    assert plan.compression_log[-1].summary == str(MAX_NOTES - 1)
    assert with_notes(FULL, ()) == FULL
