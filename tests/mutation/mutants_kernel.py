"""Bugs of the hook and the kernel: outputs before what they rest on is durable, and restores that forget."""

from mutant import Mutant

_ONCE = "test_each_entry_is_fetched_once_however_many_states_rest_on_it"
HOOK, POINTS, HOST = "checkpoint/hook.py", "kernel/hook_points.py", "kernel/host.py"
MISSING, UNREAD = "kernel/missing.py", "log/unread_streams.py"
PERFORMER, COMMIT = "kernel/calls/performer.py", "kernel/turn/commit.py"
DOUBT, LEDGER, CALLS = "kernel/calls/doubt.py", "kernel/calls/ledger.py", "kernel/turn/calls.py"
GOVERNING, RESTORE, STATE = "kernel/governance/governing.py", "kernel/restore.py", "kernel/state.py"
CORE, INTAKE, RUNNER, SCHEDULER, WATCHED = (
    f"kernel/{name}.py" for name in ("core", "intake", "runner", "scheduler", "watched")
)

FAILURES, START, TRIGGERS = (
    f"tests/checkpoint/test_hook_{name}.py::test_" for name in ("failures", "start", "triggers")
)
CHARGES = "tests/kernel/test_charges.py::test_"
CONTEXTS = "tests/checkpoint/test_unread_contexts.py::test_"
APPROVALS, EFFECTS, EVENTS, INBOX = (
    f"tests/kernel/test_{name}.py::test_" for name in ("approvals", "effects", "events", "inbox")
)
CANCEL, GOVERNED, JOIN = (
    f"tests/kernel/test_{name}.py::test_"
    for name in ("cancel_extend_forget", "governed_restore", "spawn_join")
)
IDENTITY, POLICIES = (f"tests/kernel/test_effect_{name}.py::test_" for name in ("identity", "policies"))
MEND, SIGNALS, STOP, TURN = (
    f"tests/kernel/test_{name}.py::test_" for name in ("restore_mend", "signals", "stop_halt", "turn")
)

KERNEL = (
    # the hook
    Mutant(
        name="outputs do not wait for what they rest on",
        file=HOOK,
        old="await log.wait_durable(commit)",
        new="pass",
        tests=(TRIGGERS + "durable_outputs_wait_for_the_storage",),
    ),
    Mutant(
        name="no turn is ever held back",
        file=HOOK,
        old="if self._is_durable and log.ahead > self._max_ahead:",
        new="if False:",
        tests=(TRIGGERS + "how_far_turns_run_ahead_of_a_slow_storage_is_bounded",),
    ),
    Mutant(
        name="turns are not written as they commit",
        file=HOOK,
        old="if self._is_durable and commit.urgent:",
        new="if False:",
        tests=(TRIGGERS + "each_turn_is_written_as_it_commits",),
    ),
    Mutant(
        name="a kernel goes on after its log has failed",
        file=HOOK,
        old="raise log.failure",
        new="pass",
        tests=(FAILURES + "a_kernel_that_has_lost_its_run_answers_nothing_any_more",),
    ),
    Mutant(
        name="an owner is disturbed by a host that could not go on",
        file=HOOK,
        old="known = await self._rehearse(storage, kernel.run_id, restore, later)",
        new="known = None",
        tests=(START + "a_missing_program_is_named_and_the_owner_is_not_disturbed",),
    ),
    Mutant(
        name="what was read before the run was owned is taken for what is there",
        file="log/run_log.py",
        old="if known is not None and await is_current(",
        new="if known is not None or await is_current(",
        tests=(START + "what_an_owner_adds_between_the_rehearsal_and_its_leaving_is_restored",),
    ),
    Mutant(
        name="a start that failed keeps the run",
        file=HOOK,
        old="await self._give_back()\n            raise",
        new="raise",
        tests=(START + "a_hook_serves_one_scheduler_and_can_be_tried_again_after_a_failed_start",),
    ),
    Mutant(
        name="leaving writes no last checkpoint",
        file=HOOK,
        old='await log.flush("stop")',
        new="pass",
        tests=(TRIGGERS + "the_last_checkpoint_is_written_on_leaving",),
    ),
    Mutant(
        name="a hook that missed a commit does not halt the kernel",
        file=POINTS,
        old="except Exception as error:  # noqa: BLE001 - a commit that a hook missed must not go on\n"
        "                self._halt(error)",
        new="except Exception:\n                pass",
        tests=(STOP + "a_hook_that_raises_halts_the_kernel",),
    ),
    Mutant(
        name="a turn begins without asking the hooks",
        file=RUNNER,
        old="await self._ready()",
        new="pass",
        tests=(TRIGGERS + "how_far_turns_run_ahead_of_a_slow_storage_is_bounded",),
    ),
    # what leaves the kernel
    Mutant(
        name="a submission is acknowledged before it is durable",
        file=SCHEDULER,
        old="intake.submit(self._core, spawn)\n        await self._durable(self.commit_number)",
        new="intake.submit(self._core, spawn)",
        tests=(STOP + "what_was_not_durable_when_the_kernel_halted_is_not_acknowledged",),
    ),
    Mutant(
        name="a message is acknowledged before it is durable",
        file=SCHEDULER,
        old="intake.send(self._core, task_id, message, key)\n        await self._durable(self.commit_number)",
        new="intake.send(self._core, task_id, message, key)",
        tests=(INBOX + "send_is_acknowledged_when_it_is_durable",),
    ),
    Mutant(
        name="a signal is acknowledged before it is durable",
        file=SCHEDULER,
        old="await self._durable(self.commit_number)\n"
        '        self._core.events.emit("signal", task_id or "", disposition=disposition.value)',
        new='self._core.events.emit("signal", task_id or "", disposition=disposition.value)',
        tests=(SIGNALS + "hooks_hear_of_signals_and_the_answer_waits_for_durability",),
    ),
    Mutant(
        name="an answer is acknowledged before it is durable",
        file=SCHEDULER,
        old="reason=reason, outcome=outcome)\n        await self._durable(self.commit_number)",
        new="reason=reason, outcome=outcome)",
        tests=(APPROVALS + "a_question_is_shown_and_an_answer_acknowledged_only_when_durable",),
    ),
    Mutant(
        name="a question is shown before it is durable",
        file=SCHEDULER,
        old="if self._core.asked.get(row.id, 0) <= self._confirmed:",
        new="if True:",
        tests=(APPROVALS + "a_question_is_shown_and_an_answer_acknowledged_only_when_durable",),
    ),
    Mutant(
        name="that a task was forgotten is acknowledged before it is durable",
        file=SCHEDULER,
        old="self._core.removal.forget(task_id)\n        self._core.state.commit()\n"
        "        await self._durable(self.commit_number)",
        new="self._core.removal.forget(task_id)\n        self._core.state.commit()",
        tests=(CANCEL + "cancel_forget_extend_are_acknowledged_when_durable",),
    ),
    Mutant(
        name="a join from outside returns what is not durable",
        file=WATCHED,
        old="result = await self._ended(row, self._end_of(row))\n"
        "            await self._durable(self.commit_number)",
        new="result = await self._ended(row, self._end_of(row))",
        tests=(JOIN + "join_from_outside_returns_only_what_is_durable",),
    ),
    Mutant(
        name="an event is told before its commit is durable",
        file=WATCHED,
        old="async for event in listener:\n",
        new="async for event in listener:\n                yield event\n                continue\n",
        tests=(EVENTS + "what_a_commit_made_so_is_told_once_it_is_durable",),
    ),
    Mutant(
        name="the questions of a restore are shown before they are durable",
        file=HOST,
        old="await self._durable(self.commit_number)\n        except BaseException",
        new="pass\n        except BaseException",
        tests=(MEND + "the_questions_of_a_restore_are_durable_before_the_body_begins",),
    ),
    Mutant(
        name="who asked a hook that failed is not told",
        file=POINTS,
        old='raise SchedulerStopped("the kernel was halted by a hook") from error',
        new="return",
        tests=(STOP + "what_was_not_durable_when_the_kernel_halted_is_not_acknowledged",),
        equivalent="the kernel looks itself whether it was halted, before it acknowledges and before a turn",
    ),
    Mutant(
        name="a commit that a hook missed is acknowledged",
        file=HOST,
        old="def _confirm_up_to(self, commit: int) -> None:\n        if self._failure is not None:",
        new="def _confirm_up_to(self, commit: int) -> None:\n        if False:",
        tests=(STOP + "a_commit_that_a_hook_missed_is_not_acknowledged",),
    ),
    # effects
    Mutant(
        name="a call is made before its intent is durable",
        file=PERFORMER,
        old="await self.write(call.task_id, call.number, started)",
        new='self._core.state.put(("effect", call.task_id, call.number), started)\n        '
        "self._core.state.commit()",
        tests=(EFFECTS + "the_intent_is_durable_before_the_call_and_the_outcome_before_the_turn_goes_on",),
    ),
    Mutant(
        name="what a call costs is charged before its outcome is written down",
        file="kernel/calls/charging.py",
        old="put_charge(core, task_id, parent, charge)",
        new="put_charge(core, task_id, parent, charge)\n    core.state.commit()",
        tests=(CHARGES + "wherever_the_process_dies_what_was_charged_is_what_the_recorded_calls_have_cost",),
    ),
    Mutant(
        name="a call is made without its intent being written",
        file=PERFORMER,
        old="await self.write(call.task_id, call.number, started)",
        new='cell.set("effect", call.number, started)',
        tests=(EFFECTS + "another_call_in_doubt_waits_for_a_decision_and_is_made_again_when_approved",),
    ),
    Mutant(
        name="the outcome of a call is not recorded",
        file=PERFORMER,
        old="await self.write(call.task_id, call.number, done)",
        new="pass",
        tests=(EFFECTS + "after_a_crash_recorded_outcomes_are_given_back_and_only_the_rest_is_done",),
    ),
    Mutant(
        name="a turn goes on before the outcome of its call is durable",
        file=PERFORMER,
        old="await self.write(call.task_id, call.number, done)",
        new='self._core.state.put(("effect", call.task_id, call.number), done)\n            '
        "self._core.state.commit()",
        tests=(EFFECTS + "the_intent_is_durable_before_the_call_and_the_outcome_before_the_turn_goes_on",),
    ),
    Mutant(
        name="a task with a call in doubt runs before anybody has decided",
        file=CORE,
        old='if effect.status is EffectStatus.STARTED and effect.policy == "ask":',
        new="if False:",
        tests=(POLICIES + "a_task_with_a_call_in_doubt_does_not_run_before_somebody_has_decided",),
    ),
    Mutant(
        name="the next turn is given the outcomes of the last one",
        file=COMMIT,
        old='core.state.remove(("effect", task_id, number))',
        new="pass",
        tests=(EFFECTS + "a_call_in_the_next_turn_is_made_anew",),
    ),
    Mutant(
        name="a call that can be probed is made again without that",
        file=DOUBT,
        old="decided = await self._probed(call, effect)",
        new="decided = replace(effect, status=EffectStatus.PLANNED)",
        tests=(POLICIES + "a_probe_that_knows_the_call_gives_its_value_and_it_is_not_made_again",),
    ),
    Mutant(
        name="a call in doubt that is to fail is made again",
        file=DOUBT,
        old="decided = settled(effect, EffectStatus.DENIED, error=text)",
        new="decided = replace(effect, status=EffectStatus.PLANNED)",
        tests=(POLICIES + "a_call_that_is_to_fail_raises_and_says_that_it_may_have_happened",),
    ),
    Mutant(
        name="what must not be repeated waits no longer than other outputs",
        file=PERFORMER,
        old="await self._durability.wait_kept(commit)",
        new="await self._durability.wait(commit)",
        tests=(POLICIES + "a_hook_that_is_not_durable_still_keeps_what_must_not_be_repeated",),
    ),
    Mutant(
        name="what must not be repeated is done where nothing is kept",
        file=PERFORMER,
        old="if tool.effect is EffectPolicy.IDEMPOTENT or self._durability.keeps:",
        new="if True:",
        tests=(POLICIES + "calls_that_must_not_be_repeated_are_refused_where_nothing_keeps_them",),
    ),
    Mutant(
        name="a rerun that goes another way is not held up",
        file=LEDGER,
        old="            left = await calls.left()",
        new="            pass",
        tests=(IDENTITY + "another_path_waits_for_a_human_who_is_shown_both",),
    ),
    Mutant(
        name="a rerun that ends without a call is not held up",
        file=RUNNER,
        old="(turn.gated or turn.leaves_calls())",
        new="turn.gated",
        tests=(IDENTITY + "a_path_that_leaves_a_call_out_waits_for_a_human",),
    ),
    Mutant(
        name="calls alike are made at the same time",
        file=CALLS,
        old="if mark in self._at_work:",
        new="if False:",
        tests=(IDENTITY + "calls_alike_at_the_same_time_need_keys",),
    ),
    Mutant(
        name="a call within another is taken for one beside it",
        file=CALLS,
        old="within = inside[1] if inside is not None and inside[0] is self else 0",
        new="within = 0",
        tests=(IDENTITY + "a_call_within_a_call_is_another_than_one_alike_beside_it",),
    ),
    # commits
    Mutant(
        name="a row that was forgotten is put by the commit that forgets it",
        file=STATE,
        old="self._rows.pop(task, None)",
        new="pass",
        tests=(
            "tests/kernel/test_event_fold.py::test_what_is_forgotten_in_the_commit_that_changed_it_stays_gone",
        ),
    ),
    Mutant(
        name="the wall time of a task whose first turn begins is not looked at",
        file="kernel/table.py",
        old="if self._asked:",
        new="if False:",
        tests=(
            "tests/kernel/test_table.py::test_a_task_whose_turn_begins_is_found_when_its_time_is_used_up",
        ),
    ),
    Mutant(
        name="every state that is checked is fetched anew",
        file="checkpoint/verify.py",
        old="storage = RememberingStorage(storage)",
        new="pass",
        tests=("tests/checkpoint/test_rehearsal.py::" + _ONCE,),
    ),
    Mutant(
        name="a turn becomes two commits",
        file=COMMIT,
        old="apply_context(state, task_id, staged)",
        new="apply_context(state, task_id, staged)\n    state.commit()",
        tests=(TURN + "what_is_staged_is_applied_in_one_commit",),
    ),
    Mutant(
        name="a message that was read comes again",
        file=COMMIT,
        old='core.state.remove(("inbox", task_id, number))',
        new="pass",
        tests=(INBOX + "what_arrives_during_a_turn_is_kept_for_the_next",),
    ),
    Mutant(
        name="a turn takes messages along that it has not read",
        file=COMMIT,
        old="if staged.read or cell.effects:\n        _drop",
        new="if staged.__dict__.update(read=frozenset(cell.inbox)) or True:\n        _drop",
        tests=(INBOX + "what_a_turn_did_not_read_stays_in_the_inbox",),
    ),
    Mutant(
        name="a key under which something was sent is forgotten",
        file=INTAKE,
        old='core.state.put(("sent", task_id, cell.take_number()), SentKey(key))',
        new="pass",
        tests=(INBOX + "a_key_makes_sending_idempotent_even_after_the_message_was_consumed",),
    ),
    Mutant(
        name="what belonged to a forgotten task stays in the log",
        file=STATE,
        old="self._changes.append(Remove(key))\n        self.remove(",
        new="pass\n        self.remove(",
        tests=(MEND + "what_scan_gives_is_what_the_commits_gave",),
    ),
    Mutant(
        name="a base leaves out how often something was done of late",
        file=STATE,
        old='yield ("rate", "", number), slot',
        new="pass",
        tests=(GOVERNED + "rate_windows_and_the_audit_survive",),
    ),
    # coming back
    Mutant(
        name="a restore goes on although something is missing",
        file=RESTORE,
        old="if lacking:",
        new="if False:",
        tests=(MEND + "what_is_missing_refuses_the_start_and_is_named",),
    ),
    Mutant(
        name="a missing program is not missed",
        file=MISSING,
        old="programs.setdefault(row.program, []).append(row.id)",
        new="pass",
        tests=(MEND + "what_is_missing_refuses_the_start_and_is_named",),
    ),
    Mutant(
        name="a missing tool is not missed",
        file=MISSING,
        old="""yield f"tool {effect.name!r} (task {row.id})\"""",
        new="yield from ()",
        tests=(MEND + "a_missing_tool_of_a_call_under_way_is_named",),
    ),
    Mutant(
        name="a missing closure of the policy is not missed",
        file=GOVERNING,
        old="""yield f"governance closure {name!r}\"""",
        new="yield from ()",
        tests=(GOVERNED + "a_restart_without_the_closures_names_all_of_them_and_changes_nothing",),
    ),
    Mutant(
        name="a restart without a policy ends the one that was kept",
        file=GOVERNING,
        old="policy: GovernancePolicy | None = settings.policy or state.policy",
        new="policy: GovernancePolicy | None = settings.policy",
        tests=(GOVERNED + "every_restored_state_is_governed_by_the_kept_policy_alone",),
    ),
    Mutant(
        name="a restart forgets how often something was done of late",
        file=GOVERNING,
        old="core.gate.governance.windows.load(state.rates)",
        new="pass",
        tests=(GOVERNED + "rate_windows_and_the_audit_survive",),
    ),
    Mutant(
        name="a restart refills the budget of time",
        file=RESTORE,
        old="core.set_work_ms(totals.clock_ms)",
        new="pass",
        tests=(MEND + "working_time_goes_on_and_downtime_is_not_charged",),
    ),
    Mutant(
        name="a turn that a crash interrupted is not run again",
        file=RESTORE,
        old="row = replace(row, state=TaskState.READY)",
        new="pass",
        tests=(MEND + "a_task_that_was_in_a_turn_runs_it_again",),
    ),
    Mutant(
        name="who joined what has ended meanwhile waits for ever",
        file=RESTORE,
        old="mended.woken.append(row.id)\n            core.wake(row)",
        new="mended.woken.append(row.id)",
        tests=(MEND + "a_join_is_shortened_by_what_has_ended_and_woken_when_nothing_is_left",),
    ),
    Mutant(
        name="a restart loses the signals that wait for a task",
        file=GOVERNING,
        old="queued = [(number, item.signal) for number, item in state.queued.items()]",
        new="queued = []",
        tests=(MEND + "messages_sent_keys_and_signals_survive_and_dedup_is_cleared",),
    ),
    Mutant(
        name="a restart begins a task's phases anew",
        file="kernel/phase.py",
        old="return MilestoneTracker.restore(contract, cell.milestone)",
        new="return MilestoneTracker.restore(contract, None)",
        tests=(GOVERNED + "a_restored_phase_goes_on_from_its_place_with_its_retries",),
    ),
    Mutant(
        name="a restart does not count the finished tasks that it finds",
        file=RESTORE,
        old="core.removal.note_done(row.id)",
        new="pass",
        tests=(MEND + "finished_roots_of_before_count_among_those_that_are_kept",),
    ),
    # contexts that are read later
    Mutant(
        name="a turn begins before its context is read",
        file=RUNNER,
        old="if task_id in core.contexts:",
        new="if False:",
        tests=(CONTEXTS + "a_turn_waits_for_its_context_which_is_read_next",),
    ),
    Mutant(
        name="a context that somebody waits for is read when its turn comes",
        file="kernel/contexts.py",
        old="if self._wanted:",
        new="if False:",
        tests=(CONTEXTS + "a_turn_waits_for_its_context_which_is_read_next",),
    ),
    Mutant(
        name="what was added to a context before it was read is lost in memory",
        file="kernel/cell.py",
        old="return [*items, *self.added] if self.added or type(items) is not list else items",
        new="return [*items]",
        tests=(CONTEXTS + "what_is_added_to_a_context_that_is_not_read_comes_behind_what_is",),
    ),
    Mutant(
        name="contexts are not looked for where a base has moved them",
        file=UNREAD,
        old="_TRIES = 4",
        new="_TRIES = 1",
        tests=(CONTEXTS + "bases_and_pruning_keep_what_is_still_to_be_read_wherever_it_is_moved",),
    ),
    Mutant(
        name="contexts of forgotten tasks are read all the same",
        file=UNREAD,
        old="return extent is not None and self._live.get(key) is extent.references",
        new="return extent is not None",
        tests=(CONTEXTS + "bases_and_pruning_keep_what_is_still_to_be_read_wherever_it_is_moved",),
    ),
    Mutant(
        name="who falls back does not know of all damage",
        file=HOOK,
        old=' if on_corruption == "refuse" else None',
        new="",
        tests=(CONTEXTS + "falling_back_reads_all_contexts_first_and_says_what_is_lost",),
    ),
    Mutant(
        name="contexts are read while the storage is closed",
        file=HOST,
        old="self._core.contexts.stop()\n        self._stopping",
        new="self._stopping",
        tests=(CONTEXTS + "leaving_does_not_wait_for_contexts_and_keeps_them",),
    ),
)
