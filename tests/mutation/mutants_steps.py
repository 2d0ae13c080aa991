"""Bugs of straight-line functions: steps made twice or lost, another way taken silently, limits not kept."""

from mutant import Mutant

S = "kernel/straight"
ATTEMPT, JOURNAL, RUN, LINE = (f"{S}/{name}.py" for name in ("attempt", "journal", "run", "straight_line"))

STEPS, RERUNS, LIMITS, WAITS = (
    f"tests/kernel/{name}.py::test_"
    for name in ("test_steps", "test_step_reruns", "test_step_limits", "test_step_waits")
)
REDACTED = "tests/kernel/test_redacted_kernel.py::test_"
EVERY_COMMIT = STEPS + "killed_after_any_commit_the_function_comes_to_the_same_and_repeats_no_step"
OTHER_WAY = RERUNS + "another_way_than_the_recorded_one_stops_the_task_and_shows_both"

STRAIGHT = (
    Mutant(
        name="the steps of a function are dropped with its turn",
        file="kernel/turn/commit.py",
        old="if core.programs[core.state.row(task_id).program].keeps_calls:",
        new="if False:",
        tests=(EVERY_COMMIT,),
    ),
    Mutant(
        name="a step that raised is forgotten when its turn is undone",
        file="kernel/rollback.py",
        old="if not core.programs[row.program].keeps_calls:",
        new="if True:",
        tests=(LIMITS + "a_step_that_raised_is_not_made_again_after_a_turn_was_undone",),
    ),
    Mutant(
        name="a task that its budget ended loses its recorded steps",
        file="kernel/core.py",
        old="for number in () if keeps_calls else list(cell.effects):",
        new="for number in list(cell.effects):",
        tests=(LIMITS + "a_budget_ends_it_before_the_next_step_and_extended_it_repeats_none",),
    ),
    Mutant(
        name="a call with a key and a secret passes for another one",
        file="kernel/calls/ledger.py",
        old="encoded is not given and not tool.key:",
        new="encoded is not given:",
        tests=(REDACTED + "a_call_with_a_key_and_a_secret_among_its_arguments_is_made_once",),
    ),
    Mutant(
        name="recorded steps that are not asked for are passed over",
        file=JOURNAL,
        old="        if not found:\n",
        new="        if True:\n",
        tests=(OTHER_WAY,),
    ),
    Mutant(
        name="only what was recorded in this turn must be asked for again",
        file="kernel/turn/calls.py",
        old="self._unasked = set(self._cell.effects)",
        new="self._unasked = set()",
        tests=(OTHER_WAY,),
    ),
    Mutant(
        name="a function may end without its recorded steps",
        file=LINE,
        old='    await journal.refuse_left("its end")\n',
        new="",
        tests=(OTHER_WAY,),
    ),
    Mutant(
        name="a function may wait without its recorded steps",
        file=LINE,
        old='        await journal.refuse_left("a wait")\n',
        new="",
        tests=(RERUNS + "a_recorded_wait_does_not_hide_that_a_recorded_step_was_left_out",),
    ),
    Mutant(
        name="one step more than may be recorded is made",
        file=JOURNAL,
        old="len(effects) >= self._limits.steps",
        new="len(effects) > self._limits.steps",
        tests=(LIMITS + "a_step_beyond_the_limit_is_not_begun",),
    ),
    Mutant(
        name="what steps gave is not counted",
        file=JOURNAL,
        old="self._bytes += len(effects[number].outcome)",
        new="self._bytes += 0",
        tests=(LIMITS + "a_step_beyond_the_limit_is_not_begun",),
    ),
    Mutant(
        name="steps go on when the budget is spent",
        file=JOURNAL,
        old="            raise NotNow\n",
        new="            pass\n",
        tests=(LIMITS + "a_budget_ends_it_before_the_next_step_and_extended_it_repeats_none",),
    ),
    Mutant(
        name="a function makes all its steps before the kernel stops",
        file=JOURNAL,
        old="if self._core.is_stopping() or budget",
        new="if budget",
        tests=(LIMITS + "when_the_kernel_stops_the_step_under_way_is_the_last",),
    ),
    Mutant(
        name="what a wait has consumed is not removed with its record",
        file=JOURNAL,
        old="            self._core.state.remove(key)\n",
        new="            pass\n",
        tests=(WAITS + "messages_are_received_in_order_and_each_once",),
    ),
    Mutant(
        name="a branch takes the sleep of another for its own",
        file=JOURNAL,
        old="argument_digest(data + place)",
        new="argument_digest(data)",
        tests=(WAITS + "branches_with_sleeps_alike_are_given_each_its_own",),
    ),
    Mutant(
        name="a sleep that is over begins again when the clock is set back",
        file=RUN,
        old="        if until != _OVER:",
        new="        if False:",
        tests=(WAITS + "a_sleep_that_is_over_stays_over_when_the_clock_is_set_back",),
    ),
    Mutant(
        name="a function may catch a refusal and go another way",
        file=RUN,
        old="_STOPS = (GovernanceError, StepMismatchError,",
        new="_STOPS = (StepMismatchError,",
        tests=(LIMITS + "a_refusal_undoes_the_turn_and_the_function_is_run_again_when_it_may",),
    ),
    Mutant(
        name="a function may catch that it goes another way",
        file=RUN,
        old="_STOPS = (GovernanceError, StepMismatchError,",
        new="_STOPS = (GovernanceError,",
        tests=(OTHER_WAY,),
    ),
    Mutant(
        name="a step may be made within another",
        file=RUN,
        old="        if self._turn.calls.is_inside:",
        new="        if False:",
        tests=(LIMITS + "a_step_within_a_step_is_refused",),
    ),
    Mutant(
        name="a wait ends the turn while a step is under way",
        file=ATTEMPT,
        old="            if self._active or not self._waits:",
        new="            if not self._waits:",
        tests=(WAITS + "a_wait_ends_the_turn_only_when_the_steps_beside_it_are_done",),
    ),
    Mutant(
        name="a wait ends the turn at once",
        file=ATTEMPT,
        old="rounds < _ROUNDS:",
        new="rounds < 1:",
        tests=(WAITS + "what_runs_beside_a_wait_is_let_come_to_its_next_step",),
    ),
    Mutant(
        name="branches are not waited for as long as they ask for recorded steps",
        file="kernel/turn/calls.py",
        old="rounds = rounds + 1 if left == len(self._unasked) else 0",
        new="rounds = rounds + 1",
        tests=(WAITS + "a_new_step_waits_until_the_branches_beside_it_have_asked_for_theirs",),
    ),
    Mutant(
        name="clean-up records a wait for a task that has ended",
        file=JOURNAL,
        old="        if row is None or row.state.kind is not StateKind.RUNNING:\n",
        new="        if False:\n",
        tests=(LIMITS + "cancelled_it_ends_and_its_clean_up_records_nothing",),
    ),
    Mutant(
        name="a function that returns leaves its steps in doubt",
        file=ATTEMPT,
        old="        while self._active:\n",
        new="        while False:\n",
        tests=(WAITS + "a_function_that_returns_waits_for_the_steps_it_has_begun",),
    ),
    Mutant(
        name="of several sleeps the longest is slept",
        file=ATTEMPT,
        old="min(sleeps)",
        new="max(sleeps)",
        tests=(WAITS + "sleeps_side_by_side_end_each_at_its_time",),
    ),
    Mutant(
        name="clean-up makes steps while the function is left",
        file=ATTEMPT,
        old="        if self._closed:\n",
        new="        if False:\n",
        tests=(LIMITS + "left_for_a_wait_its_clean_up_makes_no_step",),
    ),
    Mutant(
        name="different waits at the same time pass for one",
        file=ATTEMPT,
        old="if any(type(each) is not type(first) for each in self._waits):",
        new="if False:",
        tests=(WAITS + "waits_of_different_kinds_are_refused",),
    ),
    Mutant(
        name="the version whose steps are recorded is not noted",
        file=LINE,
        old="        self._mark(turn)\n",
        new="",
        tests=(RERUNS + "another_version_is_refused_unless_it_says_that_it_continues",),
    ),
    Mutant(
        name="a version continues any other",
        file=LINE,
        old="        if version not in self._continues:",
        new="        if False:",
        tests=(RERUNS + "another_version_is_refused_unless_it_says_that_it_continues",),
    ),
    Mutant(
        name="a cancellation that the function lets escape is lost",
        file=LINE,
        old="            if is_cancelled():\n                raise\n            attempt.end(error)\n",
        new="            raise\n",
        tests=(WAITS + "a_cancellation_that_the_function_lets_escape_fails_its_task_alone",),
    ),
)
