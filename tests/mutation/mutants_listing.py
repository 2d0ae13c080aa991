"""Bugs in how checkpoints are listed, and in how much of the event loop and the disk a base takes."""

from mutant import Mutant

CHECKPOINTS, POLICY, SLICE = (f"log/{name}.py" for name in ("list_checkpoints", "base_policy", "time_slice"))
FROM_THE_END = "tests/storage/test_conformance.py::TestMemoryStorage::test_listing_from_the_end"
JUDGED = "tests/log/test_damage.py::test_the_newest_checkpoints_are_judged_as_in_the_whole_listing"
RESTS_ON_DAMAGE = "tests/log/test_damage.py::test_the_newest_checkpoint_is_known_to_rest_on_damage_far_below"
BELOW_LOST = "tests/log/test_damage.py::test_a_checkpoint_may_rest_on_one_far_below_thousands_of_lost_numbers"
RARER = "tests/log/test_bases.py::test_bases_come_more_rarely_as_a_history_grows_but_not_without_an_end"
SHARES = "tests/log/test_time_slice.py::test_"
FAILED = "tests/storage/test_file_fault.py::test_an_entry_that_could_not_be_synced_is_not_there_for_its_owner"
COUNTED = (
    "tests/storage/test_file.py::test_the_newest_entries_are_counted_from_the_end_across_segments_and_owners"
)

LISTING = (
    Mutant(
        name="the newest entries end before a failed one that was left out",
        file="storage/file/storage.py",
        old="looker.newest(limit + 1)",
        new="looker.newest(limit)",
        tests=(FAILED,),
    ),
    Mutant(
        name="newer segments count twice for the newest entries",
        file="storage/file/listing.py",
        old="left -= stop",
        new="left -= 2 * stop",
        tests=(COUNTED,),
    ),
    Mutant(
        name="a storage's newest entries are looked for too early",
        file="abc/storage.py",
        old="                low += step",
        new="                pass",
        tests=(FROM_THE_END,),
    ),
    Mutant(
        name="what lies below the newest checkpoints is not looked at",
        file=CHECKPOINTS,
        old="await survey.look_below(listing, codec)",
        new="pass",
        tests=(JUDGED,),
    ),
    Mutant(
        name="a page of numbers that were lost ends what lies below the newest checkpoints",
        file="log/listing.py",
        old="            if found := page.before(sequence + 1):\n                return found\n",
        new="            return page.before(sequence + 1)\n",
        tests=(BELOW_LOST,),
    ),
    Mutant(
        name="below the newest checkpoints a damaged entry counts",
        file=CHECKPOINTS,
        old="elif info.damage:",
        new="elif False:",
        tests=(RESTS_ON_DAMAGE,),
    ),
    Mutant(
        name="below the newest checkpoints another entry than the one that is followed counts",
        file=CHECKPOINTS,
        old="meta.digest != above.previous_digest or info.epoch != above.previous_epoch",
        new="info.epoch != above.previous_epoch",
        tests=(RESTS_ON_DAMAGE,),
    ),
    Mutant(
        name="a base whose blob is missing is rested on",
        file=CHECKPOINTS,
        old="if not self.since and not damage and state.name in self._blobs:",
        new="if not self.since and not damage:",
        tests=(JUDGED,),
    ),
    Mutant(
        name="checkpoints that were cut off are counted among the newest",
        file=CHECKPOINTS,
        old="or len(found) >= newest or",
        new="or",
        tests=(JUDGED,),
        equivalent="more is looked at than need be, and the same is found",
    ),
    Mutant(
        name="a base does not rest",
        file=SLICE,
        old="self._owed += self._rest * (ended - self._began)",
        new="pass",
        tests=(SHARES + "who_rests_gets_its_share_while_others_want_the_loop",),
    ),
    Mutant(
        name="a base rests although nobody wants the loop",
        file=SLICE,
        old="if self._owed > 0 and self._began - self._wanted < _QUIET_SECONDS:",
        new="if self._owed > 0:",
        tests=(SHARES + "who_rests_goes_on_at_once_when_nobody_wants_the_loop",),
    ),
    Mutant(
        name="a busy machine is taken for others that want the loop",
        file=SLICE,
        old="self._others = thread_time() - worked",
        new="self._others = self._began - given",
        tests=(SHARES + "a_machine_that_is_busy_with_something_else_does_not_want_the_loop",),
    ),
    Mutant(
        name="whoever waits for the disk is taken for done",
        file=SLICE,
        old="_QUIET_SECONDS = 0.05",
        new="_QUIET_SECONDS = 0.001",
        tests=(SHARES + "others_that_wait_for_the_disk_still_want_the_loop",),
    ),
    Mutant(
        name="bases grow rarer without an end",
        file=POLICY,
        old="min(_LIVE_SHARE * live, _MOST_GROWTH * least)",
        new="_LIVE_SHARE * live",
        tests=(RARER,),
    ),
    Mutant(
        name="bases do not grow rarer",
        file=POLICY,
        old="self._bytes_due = self._due_after(facts)",
        new="pass",
        tests=(RARER,),
    ),
)
