"""The page on the original names tests that exist, all tests of the original, and all faults found in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "original.md"

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FAULTS = {"A": 10, "B": 11, "C": 12, "D": 6, "E": 5, "F": 9, "G": 7, "H": 4}
"""How many faults were found in each part of the original."""

ORIGINAL = {
    "Tests of the snapshot": """
        tcb_snapshot_roundtrip kernel_snapshot_serializes context_snapshot_captures_fields
        snapshot_from_state_captures_tasks context_snapshot_from_manager tcb_restore_roundtrip
        tcb_restore_with_wait_reason kernel_snapshot_to_os_process_records
        kernel_snapshot_to_os_records_matches_state_machine""",
    "Tests of snapshot and restore in the state machine": """
        snapshot_roundtrip_preserves_turn_and_tokens snapshot_roundtrip_preserves_task_table
        snapshot_roundtrip_preserves_context_messages snapshot_roundtrip_preserves_signals
        snapshot_roundtrip_preserves_task_state snapshot_roundtrip_serialization
        snapshot_roundtrip_with_suspended_state snapshot_restore_independence
        snapshot_preserves_max_tokens_and_sprint""",
    "Tests of the scheduler": """
        process_state_maps_to_task_state suspend_reason_maps_to_wait_reason block_reason_maps_to_wait_reason
        budget_ledger_delegates_to_scheduler_budget task_table_insert_and_lineage
        schedule_runs_when_within_budget schedule_terminates_and_matches_should_terminate_axis
        schedule_terminates_on_wall_time_as_timeout task_table_insert_is_idempotent_by_id
        schedule_multi_returns_idle_when_no_runnable baseline_idle_when_no_runnable
        schedule_multi_runs_single_ready_task schedule_multi_terminates_over_budget_tasks
        baseline_terminates_over_budget schedule_multi_skips_deferred_tasks
        schedule_multi_picks_first_runnable_fifo schedule_multi_ignores_blocked
        schedule_multi_ignores_suspended schedule_multi_ignores_done deferred_task_becomes_runnable_after_time
        schedule_multi_skips_deferred_and_returns_next_ready signal_aware_prioritization_with_no_signal
        signal_aware_prioritization_prefers_signal_waiting_task
        signal_aware_prioritization_normal_signal_no_prefer signal_aware_prioritization_high_signal_prefer
        signal_aware_prioritization_critical_signal_strongly_prefer baseline_single_task_selection
        baseline_fifo_selection_order baseline_token_budget_terminates baseline_wall_time_timeout
        monotonicity_termination_first_before_selection monotonicity_deferred_not_selected_before_time
        monotonicity_blocked_suspended_not_selected baseline_signal_aware_selection""",
    "Tests of signals": """
        critical_signal_interrupts_running low_signal_observed higher_urgency_dequeued_first respects_max_size
        same_urgency_older_first deduplicates_signals normal_signal_queued interrupt_signals_not_queued
        full_queue_drops_signal clear_dedup_allows_reingest""",
    "Tests of replay, event log and repair": """
        rebuild_tracks_process_and_signals golden_os_snapshot_spawn_lifecycle_fixture
        golden_os_snapshot_ask_user_fixture maps_observation_kinds_to_categories
        kernel_observation_kinds_cover_abi_surface categories_roll_up_to_three_primitives
        every_kernel_observation_kind_maps_to_a_primitive
        repair_does_not_synthesize_provider_replay_for_tool_turns repair_passes_stored_replay_through
        provider_replay_round_trips_unknown_envelope_fields reconstruct_ignores_categorized_kernel_os_events
        sanitize_recovery_text_bounded_respects_cjk_boundary""",
    "Tests of a run's life and its budget": """
        lifecycle_idle_before_start_is_ready lifecycle_running_after_start task_table_holds_root_after_start
        lifecycle_suspended_on_ask_user_with_approval_wait lifecycle_suspended_on_sub_agent_with_join_wait
        lifecycle_terminal_is_done_with_no_wait lifecycle_running_again_after_resume_from_suspend
        task_table_tracks_sub_agent_lifecycle agent_process_view_shape_is_pinned_across_spawn_and_join
        spawn_sub_agent_suspends_until_completed budget_exceeded_observation_on_max_turns
        budget_exceeded_observation_on_token_budget budget_exceeded_observation_on_wall_time
        max_turns_emits_final_toolless_call_then_terminates timeout_rolls_back
        critical_signal_goes_to_signals_not_history user_directive_survives_renewal
        start_places_user_message_in_history_not_signals resume_after_preload_runs_pending_tools_before_llm
        resume_after_preload_emits_call_llm_without_duplicate_user preload_history_and_drain_new_messages
        ask_user_enters_suspended resume_approved resume_all_denied milestone_load milestone_pass
        milestone_fail milestone_unlock milestone_all_phases milestone_none spawn_quota memory_write_quota
        large_tool_result_is_spooled small_tool_result_is_not_spooled rollback_note_concise
        rollback_note_verbose agent_process_changed_locks_multiword_wire_form""",
    "Tests of other types near the snapshot": """
        process_view milestone_tracker milestone_contract handles spooling handles_in_the_context
        plan_open_steps_and_directives plan_updates_and_rendering partitions renewal governance_pipeline
        governance_reducer governance_veto governance_permission governance_constraint governance_rate_limit
        governance_quota system_calls""",
}
"""The original's tests by the page's headings; of the last groups only what they were about is told."""


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row of a table, without heads."""
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [row for row in rows if "`" in row[0] or re.fullmatch(r"[A-H]\d+", row[0])]


def sections() -> dict[str, str]:
    """The text below each heading of the second level."""
    _, *parts = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts}


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the test functions of a file, those in classes included."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def is_pending(cell: str) -> bool:
    """Whether a cell says, outside the names in it, that its test is to come."""
    return "pending" in re.sub(r"`[^`]*`", "", cell)


def is_answered(cell: str) -> bool:
    """Whether a cell names a test, gives a reason why there is none, or says that it is to come."""
    return bool(NAMED.search(cell)) or is_pending(cell) or cell.startswith("cannot arise: ")


def test_every_test_that_is_named_exists():
    named = NAMED.findall(PAGE.read_text())
    assert len(named) > 100
    assert [
        f"{path}::{name}" for path, name in named if not (ROOT / path).exists() or name not in names_in(path)
    ] == []


def test_every_path_that_is_named_names_a_test():
    paths = re.findall(r"tests/[\w/.]+", PAGE.read_text())
    assert len(paths) == len(NAMED.findall(PAGE.read_text()))


@pytest.mark.parametrize("group", ORIGINAL)
def test_no_test_of_the_original_is_missing(group):
    rows = rows_of(sections()[group])
    assert [row[0].strip("`") for row in rows] == ORIGINAL[group].split()
    assert all(is_answered(row[1]) for row in rows)


def test_every_fault_is_shown_not_to_be_repeated_or_says_why_it_cannot_arise():
    rows = rows_of(sections()["Faults that are not repeated"])
    expected = [f"{letter}{number}" for letter, count in FAULTS.items() for number in range(1, count + 1)]
    assert [row[0] for row in rows] == expected
    assert all(row[1] and is_answered(row[2]) for row in rows)


@pytest.mark.parametrize("letter", FAULTS)
def test_tests_of_faults_are_all_on_the_page(letter):
    named = {name for _, name in NAMED.findall(PAGE.read_text())}
    for path in (ROOT / "tests" / "original").glob(f"test_fault_{letter.lower()}_*.py"):
        assert names_in(str(path.relative_to(ROOT))) <= named


def test_nothing_is_pending():
    rows = [row for text in sections().values() for row in rows_of(text)]
    left = [row[0] for row in rows if any(map(is_pending, row[1:]))]
    if left:
        pytest.fail(f"without a test yet: {', '.join(left)}", pytrace=False)
