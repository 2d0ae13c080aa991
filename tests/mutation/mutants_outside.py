"""Bugs of what is posted from outside: commands done twice, lost, or believed without being checked."""

from mutant import Mutant

INBOX, OUTSIDE, POSTED, POST = (
    "checkpoint/inbox.py",
    "kernel/outside.py",
    "codec/posted.py",
    "checkpoint/post.py",
)
TAKEN = "tests/checkpoint/test_hook_inbox.py::test_"

FROM_OUTSIDE = (
    Mutant(
        name="a command is deleted before a checkpoint knows of it",
        file=INBOX,
        old="await self._wait_durable()\n        for",
        new="for",
        tests=(TAKEN + "nothing_is_deleted_before_a_checkpoint_knows_of_it",),
    ),
    Mutant(
        name="a command is forgotten although it could not be deleted",
        file=INBOX,
        old="        await self._storage.delete_posted(",
        new="        self._host.forget_commands([name.partition('/')[2] for name in self._taken])\n"
        "        await self._storage.delete_posted(",
        tests=(TAKEN + "a_storage_that_fails_for_a_while_makes_nothing_be_done_twice",),
    ),
    Mutant(
        name="a command that is found again is done again",
        file=OUTSIDE,
        old="return core.state.commands.get(key_of(command_id)[2])",
        new="return None",
        tests=(TAKEN + "a_kernel_that_died_before_it_deleted_does_nothing_twice_and_forgets",),
    ),
    Mutant(
        name="a command is recorded in a commit of its own",
        file=OUTSIDE,
        old="    core.state.put(key, CommandOutcome(posted.id))\n    ended",
        new="    core.state.put(key, CommandOutcome(posted.id))\n    core.state.commit()\n    ended",
        tests=(TAKEN + "a_command_and_the_record_of_it_are_one_commit",),
    ),
    Mutant(
        name="commands that were done are remembered for ever",
        file=INBOX,
        old="self._host.forget_commands([name.removeprefix",
        new="list([name.removeprefix",
        tests=(TAKEN + "nothing_is_remembered_of_what_was_done",),
    ),
    Mutant(
        name="what a restored kernel remembers is not deleted once more before it is forgotten",
        file=INBOX,
        old="self._taken = dict.fromkeys(known - listed)",
        new="self._taken = {}\n"
        "        self._host.forget_commands([name.partition('/')[2] for name in known - listed])",
        tests=(TAKEN + "a_kernel_that_died_after_it_deleted_forgets_at_its_next_start",),
    ),
    Mutant(
        name="turns begin before what was posted meanwhile is done",
        file=INBOX,
        old="            await self.take()\n        self._kernel.start_soon",
        new="            pass\n        self._kernel.start_soon",
        tests=(TAKEN + "what_is_posted_while_nobody_runs_is_done_at_the_next_start_before_any_turn",),
    ),
    Mutant(
        name="what a policy raises ends the kernel",
        file=OUTSIDE,
        old="except Exception as error:",
        new="except KernelCkptError as error:",
        tests=(TAKEN + "a_policy_that_raises_makes_a_refusal_not_an_end",),
        hangs=True,
    ),
    Mutant(
        name="a command of another run is taken",
        file=POSTED,
        old='return msgspec.msgpack.encode(("inbox", *self))',
        new='return msgspec.msgpack.encode(("inbox", *self[1:]))',
        tests=(TAKEN + "a_command_that_was_not_encrypted_for_this_run_and_id_is_refused",),
    ),
    Mutant(
        name="a copied command is done under another id",
        file=POSTED,
        old="if record.id != command_id:",
        new="if False:",
        tests=(TAKEN + "what_is_no_command_is_refused_by_name_once_and_loses_nothing_behind_it",),
        hangs=True,
    ),
    Mutant(
        name="a command goes in the clear to an encrypted run",
        file=POST,
        old="    await _check_keys(storage, run_id, codec)\n",
        new="",
        tests=(TAKEN + "who_has_not_the_keys_of_a_run_cannot_post_to_it",),
    ),
    Mutant(
        name="a secret in the id of no task is told",
        file="kernel/scheduler.py",
        old="self._core.redactor.text(task_id)  #",
        new="task_id  #",
        tests=(TAKEN + "no_secret_of_a_command_becomes_state_or_is_told",),
    ),
    Mutant(
        name="a signal from outside is told to no hook",
        file="kernel/scheduler.py",
        old="self.start_soon(self._signalled, command, Disposition(outcome.text))",
        new="pass",
        tests=(TAKEN + "other_hooks_are_told_of_a_signal_once_it_is_durable",),
    ),
    Mutant(
        name="a listing shows a message without one that was posted before it",
        file="storage/file/run.py",
        old="            found += [message for message in missed if message.order <= newest]\n",
        new="",
        tests=(
            "tests/storage/test_file.py::test_a_listing_that_misses_a_message_does_not_show_what_was_posted_after_it",
        ),
    ),
)
