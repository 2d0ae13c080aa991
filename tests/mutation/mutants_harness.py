"""Bugs in what users test their agents with: the harness, its fakes, and crashes everywhere."""

from mutant import Mutant

LIFE, FAKES, PROCESS, HARNESS, TIMERS, OUTCOME = (
    f"testing/agent_{name}.py" for name in ("life", "fakes", "process", "harness", "timers", "outcome")
)
EVERYWHERE, PLUGIN = "testing/crash_everywhere.py", "testing/pytest_plugin.py"
BY_HAND = "tests/testing/test_agent_harness.py::test_"
CRASHED = "tests/testing/test_crash_everywhere.py::test_"
STANDS = CRASHED + "an_agent_that_pays_by_the_ledger_stands_every_crash"
IN_FINALLY = BY_HAND + "what_a_dead_process_does_in_finally_reaches_nobody"
SECOND = CRASHED + "a_second_crash_during_recovery_changes_nothing_either"
MANY_KINDS = CRASHED + "timers_children_approvals_and_concurrent_calls_stand_every_crash"

HARNESSES = (
    Mutant(
        name="a dead process goes on writing",
        file=LIFE,
        old='            raise FencedError("this process is dead")',
        new="            pass",
        tests=(IN_FINALLY,),
    ),
    Mutant(
        name="what is left of a dead process makes calls",
        file=LIFE,
        old="        self.moved += 1\n        if self.is_dead:\n            raise SimKilledError\n",
        new="        self.moved += 1\n",
        tests=(MANY_KINDS,),
    ),
    Mutant(
        name="a write that was not acknowledged is no point",
        file=LIFE,
        old="if call.method in _WRITES:",
        new="if False:",
        tests=(STANDS,),
    ),
    Mutant(
        name="an acknowledgement is no point",
        file=LIFE,
        old='self._points.reach("kept")',
        new="pass",
        tests=(STANDS,),
    ),
    Mutant(
        name="a process dies a point too late",
        file=LIFE,
        old="if len(self.labels) == self._last:",
        new="if len(self.labels) - 1 == self._last:",
        tests=(STANDS,),
    ),
    Mutant(
        name="a tool that nothing stands for fails the agent instead of the test",
        file=FAKES,
        old="        if call.name not in self._answers:",
        new="        if call.name.startswith(PROBE) and call.name not in self._answers:",
        tests=(BY_HAND + "a_call_that_nothing_stands_for_fails_the_test_and_not_the_agent",),
    ),
    Mutant(
        name="a probe says that nothing has happened",
        file=FAKES,
        old="return NotDone() if found is None else found.value",
        new="return NotDone()",
        tests=(CRASHED + "every_policy_does_what_it_says_at_every_point[probe]",),
    ),
    Mutant(
        name="answers go on where the run before has left off",
        file=FAKES,
        old="answer.anew() if isinstance(answer, Answers) else answer",
        new="answer",
        tests=(CRASHED + "answers_begin_anew_in_each_run",),
    ),
    Mutant(
        name="a call that is repeated is answered by the next answer",
        file=FAKES,
        old="answer.take(call.name) if before is None else before.value",
        new="answer.take(call.name)",
        tests=(CRASHED + "a_call_that_is_given_up_and_tried_again_stands_every_crash",),
    ),
    Mutant(
        name="the way of a scenario depends on real time",
        file=LIFE,
        old="LogOptions(slice_seconds=_FOR_EVER)",
        new="LogOptions()",
        tests=(CRASHED + "the_way_of_a_scenario_does_not_depend_on_real_time",),
    ),
    Mutant(
        name="only plain values are believed to be what a call has given",
        file=EVERYWHERE,
        old="outcome=plain",
        new="outcome=call.value",
        tests=(CRASHED + "values_of_any_kind_that_can_be_kept_are_believed",),
    ),
    Mutant(
        name="a probe counts as a call",
        file=FAKES,
        old="(call for call in self.calls if call.done and not call.name.startswith(PROBE))",
        new="(call for call in self.calls if call.done)",
        tests=(CRASHED + "a_kernel_that_breaks_its_promise_is_found",),
    ),
    Mutant(
        name="a fake is not given the idempotency key",
        file=FAKES,
        old="{KEY: call.key} if _takes_key(function) else {}",
        new="{}",
        tests=(BY_HAND + "functions_called_as_effects_have_fakes_by_their_names",),
    ),
    Mutant(
        name="a call that was begun again passes for its first run",
        file=FAKES,
        old="and run in {None, call.run}",
        new="",
        tests=(BY_HAND + "of_a_call_that_was_begun_twice_the_second_run_is_in_question",),
    ),
    Mutant(
        name="a call counts as done before it is",
        file=PROCESS,
        old="        self.fakes.calls.append(made)\n",
        new="        self.fakes.calls.append(made)\n        made.done = True\n",
        tests=(BY_HAND + "what_was_not_durable_is_gone_and_the_world_stays",),
    ),
    Mutant(
        name="programs are not made anew",
        file=PROCESS,
        old="        programs = self._programs() if callable(self._programs) else self._programs\n",
        new="""        if callable(self._programs):
            self._programs = self._programs()
        programs = self._programs
""",
        tests=(BY_HAND + "programs_that_are_made_anew_forget_what_they_kept_in_variables",),
    ),
    Mutant(
        name="a timer whose firing a crash took back counts",
        file=TIMERS,
        old="                del self._fired[timer]",
        new="                pass",
        tests=(MANY_KINDS,),
    ),
    Mutant(
        name="a wait that was ended counts as a timer that fired",
        file=TIMERS,
        old="+= until <= self._wall_ms()",
        new="+= 1",
        tests=(BY_HAND + "a_wait_that_somebody_ended_is_no_timer_that_fired",),
    ),
    Mutant(
        name="a message is sent again under no key",
        file=HARNESS,
        old='named = key or f"message-{self._sent}"',
        new="named = key",
        tests=(CRASHED + "an_agent_that_keeps_messages_in_its_state_stands_every_crash",),
    ),
    Mutant(
        name="an answer that was taken is given again",
        file=HARNESS,
        old="if tries == 1 or place in",
        new="if tries or place in",
        tests=(SECOND,),
    ),
    Mutant(
        name="a step ends before everything has happened",
        file=HARNESS,
        old="_STILL = 60",
        new="_STILL = 1",
        tests=(BY_HAND + "an_agent_runs_with_fakes_through_an_approval_and_a_crash", STANDS, MANY_KINDS),
    ),
    Mutant(
        name="time is moved at once and not from sleeper to sleeper",
        file=HARNESS,
        old="        while (pause := self.clock.next_wake) is not None and",
        new="        while (pause := None) is not None and",
        tests=(BY_HAND + "whoever_is_woken_acts_at_his_own_time_however_much_he_does",),
    ),
    Mutant(
        name="calls made too often are not noticed",
        file=OUTCOME,
        old="if is_too_often or (",
        new="if (",
        tests=(CRASHED + "an_approver_who_always_says_again_is_found",),
    ),
    Mutant(
        name="calls that are missing are not noticed",
        file=OUTCOME,
        old="(count < once and not may_lack)",
        new="False",
        tests=(CRASHED + "an_approver_who_believes_without_looking_is_found",),
    ),
    Mutant(
        name="repeated calls may come under any key",
        file=OUTCOME,
        old="if name in repeatable and expected.keys",
        new="if not repeatable and expected.keys",
        tests=(CRASHED + "an_idempotent_call_under_another_key_is_found",),
    ),
    Mutant(
        name="histories are not compared",
        file=OUTCOME,
        old='        *_differing("the history of", expected.histories, found.histories),\n',
        new="",
        tests=(CRASHED + "whatever_a_task_has_kept_is_compared[history]",),
    ),
    Mutant(
        name="states are not compared",
        file=OUTCOME,
        old='        *_differing("the state of", expected.states, found.states),\n',
        new="",
        tests=(CRASHED + "whatever_a_task_has_kept_is_compared[state]",),
    ),
    Mutant(
        name="the recovery is not crashed",
        file=EVERYWHERE,
        old="await judge.run(trial, (*trail, again), report)",
        new="await judge.run(trial, trail, report)",
        tests=(SECOND,),
    ),
    Mutant(
        name="more runs than the limit are made",
        file=EVERYWHERE,
        old="if most > limit:",
        new="if False:",
        tests=(CRASHED + "more_runs_than_the_limit_are_refused_not_left_out",),
    ),
    Mutant(
        name="two undisturbed runs may differ",
        file=EVERYWHERE,
        old="    if why:\n        lines =",
        new="    if False:\n        lines =",
        tests=(CRASHED + "an_agent_that_depends_on_time_or_chance_is_found_without_a_crash",),
    ),
    Mutant(
        name="a run that takes another way passes for the same",
        file=EVERYWHERE,
        old="if lives[0] != self._labels[: trail[0]]:",
        new="if False:",
        tests=(CRASHED + "an_agent_whose_way_is_another_one_later_on_is_found",),
    ),
    Mutant(
        name="a scenario goes on with a dead process",
        file=EVERYWHERE,
        old="            await self._alive()\n            return done",
        new="            return done",
        tests=(STANDS,),
    ),
    Mutant(
        name="a harness that is not left is not noticed",
        file=PLUGIN,
        old="if any(harness.is_entered for harness in made):",
        new="if False:",
        tests=("tests/testing/test_pytest_plugin.py::test_a_harness_that_is_not_left_fails_its_test",),
    ),
)
