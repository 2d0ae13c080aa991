"""Bugs of budgets, deadlines and retries: limits that are not seen, sums that do not add up, lost tries."""

from mutant import Mutant

BUDGET, LIMITS, SPENDING = "model/budget.py", "kernel/limits.py", "kernel/spending.py"
INTAKE, RESTORE, TABLE, STATE = (f"kernel/{name}.py" for name in ("intake", "restore", "table", "state"))
RETRYING, COMMIT = "kernel/turn/retrying.py", "kernel/turn/commit.py"

LIMITED, RETRY = (f"tests/kernel/test_{name}.py::test_" for name in ("limits", "program_retry"))
CLOCKS = (
    "tests/properties/test_clocks.py::"
    "test_ledgers_balance_timers_fire_once_and_no_answer_is_lost_or_taken_twice"
)

OVER_BUDGET = (
    Mutant(
        name="money is not a limit",
        file=BUDGET,
        old='return "cost_budget" if is_over else None',
        new="return None",
        tests=(LIMITED + "a_limit_of_money_ends_a_task_as_one_of_tokens_does",),
    ),
    Mutant(
        name="a deadline is looked at before turns only",
        file=TABLE,
        old="    return due if deferred is None else min(due, deferred)",
        new="    return deferred",
        tests=(LIMITED + "a_deadline_ends_a_task_that_waits_when_its_time_has_come_and_not_before", CLOCKS),
    ),
    Mutant(
        name="nobody sleeps until a deadline",
        file=STATE,
        old="            self._on_deadline()",
        new="            pass",
        tests=(LIMITED + "a_deadline_ends_a_task_that_waits_when_its_time_has_come_and_not_before",),
    ),
    Mutant(
        name="a deadline after the first turn counts from the submission",
        file=LIMITS,
        old="began = core.clock.wall_ms() if goes_by_begin else None",
        new="began = core.state.totals.clock_ms if goes_by_begin else None",
        tests=(LIMITED + "a_deadline_after_the_first_turn_counts_from_there_and_not_from_the_submission",),
    ),
    Mutant(
        name="the downtime before an earlier restore is forgotten",
        file="kernel/core.py",
        old="downtime_ms=old.downtime_ms + downtime_ms",
        new="downtime_ms=downtime_ms or old.downtime_ms",
        tests=(LIMITED + "downtime_is_charged_only_if_the_budget_says_so",),
    ),
    Mutant(
        name="downtime is always charged",
        file=LIMITS,
        old="(core.state.totals.downtime_ms if limits.charge_downtime else 0)",
        new="core.state.totals.downtime_ms",
        tests=(LIMITED + "downtime_is_charged_only_if_the_budget_says_so",),
    ),
    Mutant(
        name="a new policy of downtime counts what was down before",
        file=LIMITS,
        old="budget = replace(budget, started_at_ms=max(0, clock_ms(core, limits) - spent))",
        new="pass",
        tests=(LIMITED + "the_policy_of_a_task_that_has_begun_can_be_changed_and_counts_from_then",),
    ),
    Mutant(
        name="only the parent is charged for what is below it",
        file=SPENDING,
        old="for above in core.state.table.lineage(parent):",
        new="for above in list(core.state.table.lineage(parent))[:1]:",
        tests=(LIMITED + "the_ledger_of_a_parent_that_includes_its_children_counts_all_below_it", CLOCKS),
    ),
    Mutant(
        name="the sum of a parent is another commit than the charge of its child",
        file=SPENDING,
        old="    for above in core.state.table.lineage(parent):",
        new="    core.state.commit()\n    for above in core.state.table.lineage(parent):",
        tests=(LIMITED + "the_sums_add_up_in_every_commit",),
    ),
    Mutant(
        name="what is below a task goes on when its limit is reached",
        file=LIMITS,
        old="return _reached_above(core, row) if core.overspent else None",
        new="return None",
        tests=(LIMITED + "children_end_with_the_limit_of_whoever_includes_them",),
    ),
    Mutant(
        name="after a restore nobody knows which limits are reached",
        file=RESTORE,
        old="        note_overspent(core, row)\n",
        new="",
        tests=(LIMITED + "what_was_overspent_is_known_after_a_restore_and_an_extension_lifts_it",),
    ),
    Mutant(
        name="a limit that is lowered does not hold for what is below",
        file=INTAKE,
        old="    note_overspent(core, core.state.row(task_id))\n",
        new="",
        tests=(LIMITED + "a_limit_that_is_lowered_holds_for_what_is_below_too",),
    ),
    Mutant(
        name="children included later count from nothing",
        file=LIMITS,
        old="budget = replace(budget, children_tokens=tokens, children_cost_micros=cost)",
        new="pass",
        tests=(LIMITED + "children_included_later_count_with_what_they_have_spent_so_far",),
    ),
    # retries of programs
    Mutant(
        name="a turn that raised is run again at once",
        file=RETRYING,
        old="core.retry(row, until_ms if pause_ms else None)",
        new="core.retry(row)",
        tests=(RETRY + "a_turn_that_raises_is_run_again_after_pauses_that_grow",),
    ),
    Mutant(
        name="tries are not counted",
        file=RETRYING,
        old="failed=row.failed + 1",
        new="failed=1",
        tests=(RETRY + "after_the_last_try_the_task_ends_with_what_was_raised", CLOCKS),
    ),
    Mutant(
        name="tries count from the task's begin",
        file=COMMIT,
        old='row = replace(row, failed=0, failure="")',
        new="pass",
        tests=(RETRY + "tries_count_from_the_last_turn_that_was_committed",),
    ),
    Mutant(
        name="a retry calls again whatever raised",
        file=RETRYING,
        old="forget_failures(core, row.id, repeatable=True)",
        new="forget_failures(core, row.id)",
        tests=(RETRY + "only_what_may_be_repeated_is_called_again_by_a_retry",),
    ),
    Mutant(
        name="a retry does not wait for the calls that its turn has begun",
        file=RETRYING,
        old="        await quiet.wait()\n",
        new="",
        tests=(RETRY + "calls_under_way_when_a_turn_raises_are_done_and_not_made_again",),
    ),
)
