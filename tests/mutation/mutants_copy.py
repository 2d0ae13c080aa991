"""Bugs of copies: in what a storage makes of their claims, in what is copied, and in when it counts."""

from mutant import Mutant

CLAIM, EPOCH = "storage/file_claim.py", "storage/file_epoch.py"
ACQUIRE_AS = "tests/storage/test_file_acquire_as.py::test_"
NEIGHBOURS = "tests/faults/test_ownership_interleavings.py::test_every_order_with_one_interruption"

COPIES = (
    Mutant(
        name="numbers that a copy leaves out are lost",
        file=CLAIM,
        old="self._write_removed(head)\n            self.head = head",
        new="self.head = head",
        tests=(ACQUIRE_AS + "entries_are_listed_under_the_epochs_and_numbers_they_are_given",),
    ),
    Mutant(
        name="segments of a dead owner are begun again",
        file=CLAIM,
        old="max((n for epoch, n in view.names.segments if epoch == self.epoch), default=0)",
        new="0",
        tests=(ACQUIRE_AS + "a_dead_owner_s_epoch_is_gone_on_with_in_a_new_segment",),
    ),
    Mutant(
        name="a claim of an older epoch is granted",
        file=CLAIM,
        old="claim.epoch < max(view.newest_epoch, 1) or",
        new="",
        tests=(ACQUIRE_AS + "a_claim_that_lies_behind_is_refused_and_changes_nothing",),
        hangs=True,
    ),
    Mutant(
        name="a copy does not ask whether the owner is alive",
        file=CLAIM,
        old="            if newest:\n                _refuse_alive(run, run_id, newest)",
        new="            pass",
        tests=(ACQUIRE_AS + "a_living_owner_is_not_disturbed",),
        hangs=True,
    ),
    Mutant(
        name="who claims an epoch does not look whether a later one was claimed meanwhile",
        file=EPOCH,
        old="    if owners[-1] > epoch:\n        return False\n",
        new="",
        tests=(ACQUIRE_AS + "an_owner_that_slept_while_it_claimed_finds_that_others_came_and_went",),
    ),
    Mutant(
        name="an owner does not find one whose epoch is not the next",
        file=EPOCH,
        old="if newer != older + 1 and",
        new="if False and",
        tests=(ACQUIRE_AS + "an_owner_that_is_no_longer_known_to_be_alive_is_fenced",),
    ),
    Mutant(
        name="each epoch that is left out gets another name at each claim",
        file=EPOCH,
        old="return bool(found != epoch)",
        new="return False",
        tests=(ACQUIRE_AS + "many_epochs_leave_few_files_behind",),
    ),
    Mutant(
        name="an epoch that is gone on with begins anew",
        file=CLAIM,
        old="view.starts.get(newest)",
        new="None",
        tests=(ACQUIRE_AS + "what_an_older_owner_wrote_too_late_stays_void_when_the_epoch_is_gone_on_with",),
    ),
    Mutant(
        name="an owner file that was replaced is replaced again",
        file=EPOCH,
        old="if not ops.lock(old) or ops.stat(path).inode != ops.fstat(old).inode:",
        new="if False:",
        tests=(ACQUIRE_AS + "of_two_that_go_on_in_one_epoch_one_does",),
    ),
)
