"""Bugs of the file storage: steps left out or done in another order, and checks that do not check."""

from mutant import Mutant

CLAIM, LISTING, OWNER = "storage/file/claim.py", "storage/file/listing.py", "storage/file/owner.py"
EPOCH, OPS, PRUNE, ROOT, RUN = (
    f"storage/file/{name}.py" for name in ("epoch", "ops", "prune", "root", "run")
)
SCAN, SEGMENT, SYNC = (f"storage/file/{name}.py" for name in ("scan", "segment", "sync"))

POWER_LOSS = "tests/storage/test_file_crash.py::test_a_power_loss_loses_nothing_acknowledged"
KILL_THEN_POWER_LOSS = (
    "tests/storage/test_file_crash.py::test_what_was_found_after_a_kill_survives_a_power_loss"
)
CRASH = "tests/storage/test_file_crash.py::test_"
FILE, DAMAGE, FAULT = (
    f"tests/storage/test_{name}.py::test_" for name in ("file", "file_damage", "file_fault")
)
CONFORMANCE = "tests/storage/test_conformance.py::TestFileStorage::test_"

STORAGE = (
    # what is synced, and when
    Mutant(
        name="the data of an entry is not synced",
        file=CLAIM,
        old="sync_data(self._ops, segment.fd, segment.path)",
        new="pass",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the name of a new segment is not synced",
        file=CLAIM,
        old="if not segment.end:\n                sync_folder(self._ops, self.run.path)",
        new="pass",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a base counts before its blob is durable",
        file=CLAIM,
        old="sync_file(self._ops, part.fd, part.path)",
        new="pass",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a blob gets its name before its bytes are synced",
        file=CLAIM,
        old="""\
            sync_file(self._ops, part.fd, part.path)
            self.check()
            publish(self._ops, part.path, path)
""",
        new="""\
            self.check()
            publish(self._ops, part.path, path)
            sync_file(self._ops, part.fd, part.path)
""",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the name of a finished blob is not synced",
        file=CLAIM,
        old="sync_folder(self._ops, self.run.path)\n        return BlobInfo",
        new="return BlobInfo",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a new file is synced before it is written",
        file=OWNER,
        old="write_all(ops, fd, [data], 0)\n        ops.fsync(fd)\n        publish(",
        new="ops.fsync(fd)\n        write_all(ops, fd, [data], 0)\n        publish(",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a new file gets its name before its bytes are synced",
        file=OWNER,
        old='ops.fsync(fd)\n        publish(ops, temporary, f"{folder}/{name}")',
        new='publish(ops, temporary, f"{folder}/{name}")\n        ops.fsync(fd)',
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the name of a new file is not synced",
        file=OWNER,
        old="ops.fsync_folder(folder)\n    return added",
        new="return added",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="where an epoch began is not synced",
        file=EPOCH,
        old="[begin, seal], size)\n    ops.fsync(fd)",
        new="[begin, seal], size)",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the name of an owner file is not synced when it is made",
        file=EPOCH,
        old="ops.fsync_folder(folder)\n        is_newest",
        new="is_newest",
        tests=(POWER_LOSS, KILL_THEN_POWER_LOSS, CRASH + "a_deleted_run_is_whole_or_gone"),
        equivalent="its owner syncs the folder again before its epoch begins",
    ),
    Mutant(
        name="an owner does not sync the names that it found",
        file=CLAIM,
        old="sync_folder(self._ops, self.run.path)\n        if self.epoch not in",
        new="if self.epoch not in",
        tests=(CRASH + "a_segment_made_while_the_next_owner_reads_is_made_durable_by_it",),
    ),
    Mutant(
        name="an owner does not sync the files that it found",
        file=CLAIM,
        old="sync_found(self.run, view)",
        new="pass",
        tests=(KILL_THEN_POWER_LOSS,),
    ),
    Mutant(
        name="what an owner found is synced but not written again",
        file=SYNC,
        old="begin = write_all(run.ops, fd, [data], begin) if data else end",
        new="begin = end",
        tests=(FAULT + "an_entry_whose_sync_failed_is_made_durable_by_the_next_owner",),
    ),
    Mutant(
        name="an owner does not sync the blobs that it found",
        file=SYNC,
        old="for name in view.names.blobs.values():",
        new="for name in ():",
        tests=(KILL_THEN_POWER_LOSS,),
        equivalent="a blob has its name only when its bytes are durable",
    ),
    Mutant(
        name="the names of new folders are not synced in their parents",
        file=ROOT,
        old="ops.fsync_folder(folder)",
        new="pass",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the name of a run's folder is not synced",
        file=ROOT,
        old="self.ops.fsync_folder(self.path)\n        return path",
        new="return path",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a marker that may not be durable is built upon",
        file=ROOT,
        old="self.ops.fsync_folder(self.path)\n            with suppress(FileExistsError):",
        new="with suppress(FileExistsError):",
        tests=(CRASH + "a_run_whose_maker_was_killed_is_made_again",),
    ),
    Mutant(
        name="that messages were removed is not synced",
        file=RUN,
        old="self.ops.fsync_folder(self.path)\n\n    def _newest_order",
        new="\n    def _newest_order",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a run is deleted file by file before it has vanished durably",
        file=ROOT,
        old='removed_name()}")\n        self.ops.fsync_folder(self.path)',
        new='removed_name()}")',
        tests=(CRASH + "a_deleted_run_is_whole_or_gone",),
    ),
    Mutant(
        name="the note of what is about to be deleted is not synced",
        file=OWNER,
        old="encode_record(_REMOVED, removed))\n    ops.fsync(fd)",
        new="encode_record(_REMOVED, removed))",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the note of what is about to be deleted is synced before it is written",
        file=OWNER,
        old="_write_slot(ops, fd, older, encode_record(_REMOVED, removed))\n    ops.fsync(fd)",
        new="ops.fsync(fd)\n    _write_slot(ops, fd, older, encode_record(_REMOVED, removed))",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the note of what was deleted is overwritten by the next one",
        file=OWNER,
        old="older = min(_REMOVED_SLOTS,",
        new="older = max(_REMOVED_SLOTS,",
        tests=(DAMAGE + "a_torn_note_of_a_deletion_takes_no_older_one_along",),
    ),
    Mutant(
        name="what is about to be deleted is not noted",
        file=CLAIM,
        old="write_removed(self._ops, self._mark_fd, removed)",
        new="pass",
        tests=(DAMAGE + "a_deleted_segment_is_not_reported",),
    ),
    Mutant(
        name="that entries were deleted is not synced",
        file=CLAIM,
        old="sync_folder(self._ops, self.run.path)\n        if prune_owners",
        new="if prune_owners",
        tests=(POWER_LOSS,),
    ),
    # the high-water mark, and what a torn tail is
    Mutant(
        name="the high-water mark is written before the acknowledgement",
        file=CLAIM,
        old="self._write_acknowledged(segment, pieces)\n        self.head = sequence",
        new="""\
write_mark(self._ops, self._mark_fd, self.epoch, sequence)
        self._write_acknowledged(segment, pieces)
        self.head = sequence""",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="the high-water mark is not written",
        file=CLAIM,
        old="write_mark(self._ops, self._mark_fd, self.epoch, sequence)",
        new="pass",
        tests=(DAMAGE + "a_torn_tail_that_was_acknowledged_is_damage",),
    ),
    Mutant(
        name="the high-water mark is not read",
        file=LISTING,
        old="mark = read_mark(self._ops, self._folder)",
        new="mark = Mark()",
        tests=(DAMAGE + "a_torn_tail_that_was_acknowledged_is_damage",),
    ),
    Mutant(
        name="a failed write of the high-water mark fails the entry",
        file=CLAIM,
        old="with suppress(OSError):  # without the mark",
        new="if True:  # without the mark",
        tests=(FAULT + "the_mark_is_not_needed",),
    ),
    Mutant(
        name="the high-water mark is read after the segments",
        file=LISTING,
        old="starts = _starts(owners)\n",
        new="starts = _starts(owners)\n        mark = read_mark(self._ops, self._folder)\n",
        tests=(FILE + "what_is_added_during_a_look_is_not_reported_as_lost",),
    ),
    Mutant(
        name="an acknowledged last entry that rotted is taken for a torn tail",
        file=LISTING,
        old="return max(self.mark.sequence, *self.starts.values(), 0)",
        new="return max(self.mark.sequence, *self.starts.values(), 0) - 1",
        tests=(DAMAGE + "a_torn_tail_that_was_acknowledged_is_damage",),
    ),
    Mutant(
        name="a torn tail is taken for an acknowledged entry",
        file=LISTING,
        old="if lost and lost.sequence <= self.acknowledged:",
        new="if lost:",
        tests=(DAMAGE + "a_torn_tail_that_was_not_acknowledged_is_dropped",),
    ),
    Mutant(
        name="where later epochs began does not tell what was acknowledged",
        file=LISTING,
        old="return max(self.mark.sequence, *self.starts.values(), 0)",
        new="return self.mark.sequence",
        tests=(DAMAGE + "a_later_epoch_tells_what_was_acknowledged",),
    ),
    Mutant(
        name="a lost segment is not noticed",
        file=LISTING,
        old="elif after < missing <= self.acknowledged:",
        new="elif False:",
        tests=(DAMAGE + "a_lost_segment_is_reported",),
    ),
    Mutant(
        name="the body of the last entry is not looked at",
        file=SCAN,
        old="if body_is_sound(self.ops, self.fd, place):",
        new="if True:",
        tests=(POWER_LOSS,),
    ),
    Mutant(
        name="a body is not compared with its crc when it is read",
        file=SEGMENT,
        old="return data if read_all(ops, fd, _LONG.size, place.body + size) == crc else None",
        new="return data",
        tests=(DAMAGE + "a_rotten_body_is_found_by_reading",),
    ),
    Mutant(
        name="a frame counts in a segment it was not written to",
        file=SEGMENT,
        old='return zlib.crc32(run_digest + struct.pack(">QQ", epoch, number))',
        new="return 0",
        tests=(DAMAGE + "frames_count_only_where_they_were_written",),
    ),
    Mutant(
        name="a frame within the bytes of an entry counts",
        file=SCAN,
        old="if sequence <= self.last:",
        new="if False:",
        tests=(DAMAGE + "a_frame_within_an_entry_is_none",),
    ),
    # who owns a run
    Mutant(
        name="ownership is checked before the sync instead of after it",
        file=CLAIM,
        old="""\
            sync_data(self._ops, segment.fd, segment.path)
            if not segment.end:
                sync_folder(self._ops, self.run.path)
            self.check()
""",
        new="""\
            self.check()
            sync_data(self._ops, segment.fd, segment.path)
            if not segment.end:
                sync_folder(self._ops, self.run.path)
""",
        tests=(FILE + "ownership_is_checked_after_the_sync",),
    ),
    Mutant(
        name="ownership is not checked before an entry is acknowledged",
        file=CLAIM,
        old="self.check()\n        except BaseException:",
        new="pass\n        except BaseException:",
        tests=(CONFORMANCE + "the_old_owner_is_fenced_at_once",),
    ),
    Mutant(
        name="ownership is not checked before a blob is there",
        file=CLAIM,
        old="self.check()\n            publish",
        new="publish",
        tests=(CONFORMANCE + "nothing_else_of_a_fenced_owner_counts",),
    ),
    Mutant(
        name="ownership is not checked before something is deleted",
        file=CLAIM,
        old="self.check()\n        view = self.run.looker.look()\n        doomed",
        new="view = self.run.looker.look()\n        doomed",
        tests=(CONFORMANCE + "nothing_else_of_a_fenced_owner_counts",),
    ),
    Mutant(
        name="who was replaced while beginning begins all the same",
        file=CLAIM,
        old="self._begin_epoch(view)\n        self.check()",
        new="self._begin_epoch(view)",
        tests=(FILE + "a_late_beginning_does_not_void_what_its_successor_read",),
    ),
    Mutant(
        name="an epoch can be taken by two",
        file=OWNER,
        old="ops.link(temporary, path)",
        new="ops.rename(temporary, path)",
        tests=(FILE + "two_that_claim_at_once_get_different_epochs",),
    ),
    Mutant(
        name="a new file may be one that is there",
        file=OPS,
        old="os.O_CREAT | os.O_EXCL | os.O_RDWR",
        new="os.O_CREAT | os.O_RDWR",
        tests=("tests/faults/test_sim_fs.py::test_what_cannot_be_done_is_refused_as_linux_refuses_it",),
    ),
    Mutant(
        name="an owner goes on from what it had read before it took the epoch",
        file=CLAIM,
        old="view = self.run.looker.look()\n        self.head",
        new="view = self.run.looker.glance()\n        self.head",
        tests=(FILE + "an_owner_goes_on_from_what_is_there_when_it_takes_the_run",),
    ),
    Mutant(
        name="epochs that had not begun are not noted by the next one",
        file=CLAIM,
        old="self._lock_fd, self.head, never,",
        new="self._lock_fd, self.head, [],",
        tests=(FILE + "a_late_beginning_does_not_void_what_its_successor_read",),
    ),
    Mutant(
        name="a living owner is not respected",
        file=CLAIM,
        old="if newest and not takeover:",
        new="if False:",
        tests=(CONFORMANCE + "a_living_owner_is_respected",),
    ),
    Mutant(
        name="a living owner's run can be deleted",
        file="storage/file/storage.py",
        old='"a deletion of the run", doomed=True',
        new='"a deletion of the run", takeover=True, doomed=True',
        tests=(CONFORMANCE + "deleting_a_run",),
    ),
    Mutant(
        name="a run that has lost an owner file cannot be deleted",
        file=CLAIM,
        old="if written > newest and not doomed:",
        new="if written > newest:",
        tests=("tests/storage/test_delete_damaged.py::test_a_damaged_folder",),
    ),
    Mutant(
        name="a folder without its run file is no run",
        file=ROOT,
        old="return bool(names.owners or names.segments)",
        new="return False",
        tests=("tests/storage/test_delete_damaged.py::test_a_damaged_folder",),
    ),
    Mutant(
        name="a damaged run hides all others",
        file=ROOT,
        old="except (FormatError, StorageError) as error:",
        new="except StorageFullError as error:",
        tests=(FILE + "a_damaged_run_file",),
    ),
    Mutant(
        name="a run in the folder of another is listed",
        file=ROOT,
        old="if run_folder_name(found) != name:",
        new="if False:",
        tests=("tests/cli/test_runs_command.py::test_a_run_that_is_damaged_hides_no_other",),
    ),
    Mutant(
        name="without a descriptor left, runs are damaged",
        file=ROOT,
        old="if isinstance(explained, StorageFullError):",
        new="if False:",
        tests=(FILE + "without_a_descriptor_left_no_run_is_called_damaged",),
    ),
    Mutant(
        name="what a stale owner adds later counts",
        file=LISTING,
        old="cut = min(cut, later.pop()[1])",
        new="later.pop()",
        tests=(CONFORMANCE + "void_entries_never_come_back", FILE + "void_segments_are_removed_by_deletion"),
    ),
    Mutant(
        name="an entry that was given up counts",
        file=LISTING,
        old="limits.append(min(cut, begin - 1) if epoch >= oldest else -1)",
        new="limits.append(cut if epoch >= oldest else -1)",
        tests=(FAULT + "the_given_up_entry_never_comes_back",),
    ),
    Mutant(
        name="the owner file of a kept segment is pruned",
        file=PRUNE,
        old="if owner < oldest]",
        new="if owner < epoch]",
        tests=(FILE + "owner_files_are_pruned_with_their_segments",),
    ),
    # writing, and what fails
    Mutant(
        name="an entry may have any number",
        file=CLAIM,
        old="if sequence != self.head + 1:",
        new="if False:",
        tests=(CONFORMANCE + "only_the_next_number_is_taken",),
    ),
    Mutant(
        name="a failed sync is tried again on the same file",
        file=CLAIM,
        old="except BaseException:\n            self._close_segment()",
        new="except BaseException:",
        tests=(FAULT + "a_failed_sync_ends_the_segment",),
    ),
    Mutant(
        name="a failed write is tried again on the same file",
        file=CLAIM,
        old="except OSError as error:\n            self._close_segment()",
        new="except OSError as error:",
        tests=(FAULT + "a_full_disk",),
    ),
    Mutant(
        name="a short write is taken for a whole one",
        file=SEGMENT,
        old="left = _without(left, taken)",
        new="left = []",
        tests=(FAULT + "short_writes_are_completed",),
    ),
    Mutant(
        name="a short read is taken for a whole one",
        file=SEGMENT,
        old="size -= len(piece)",
        new="size = 0",
        tests=(FAULT + "short_reads_are_completed",),
    ),
    Mutant(
        name="an owner goes on in the segment it finds",
        file=CLAIM,
        old="""\
        path = f"{self.run.path}/{segment_name(self.epoch, self._segments + 1)}"
        fd = self._ops.create(path)
        self._segments += 1
        self._segment = _OpenFile(fd, path, self._segments)
""",
        new="""\
        path, self._segments = f"{self.run.path}/seg.1.1", 1
        fd = self._ops.open(path, write=True) if exists(self._ops, path) else self._ops.create(path)
        self._segment = _OpenFile(fd, path, 1, self._ops.fstat(fd).size)
""",
        tests=(FILE + "each_owner_starts_its_own_segment",),
    ),
    Mutant(
        name="a blob whose part failed can be finished",
        file=CLAIM,
        old="self._abandon(blob)\n            raise storage_error(error, path) from error",
        new="raise storage_error(error, path) from error",
        tests=(FAULT + "a_failed_blob_is_gone",),
    ),
    # what is deleted, and what is not ours
    Mutant(
        name="the head is lost with the last entry",
        file=LISTING,
        old="return max(newest, self.acknowledged, self.mark.removed)",
        new="return newest",
        tests=(CONFORMANCE + "deleting_keeps_head_and_epoch",),
    ),
    Mutant(
        name="a segment is deleted although an entry in it is kept",
        file=PRUNE,
        old="if entry.segment in doomed and (entry.epoch, entry.sequence) not in given:",
        new="if False:",
        tests=(FILE + "segments_are_deleted_whole",),
    ),
    Mutant(
        name="temporary files of the living are removed",
        file=PRUNE,
        old="if run.ops.lock(fd):",
        new="if True:",
        tests=(FILE + "left_overs_of_the_living_are_kept",),
    ),
    Mutant(
        name="what is known of a run is believed of one made anew",
        file="storage/file/storage.py",
        old="if known is not None and known.is_same():",
        new="if known is not None:",
        tests=(FILE + "a_run_made_anew_is_not_mixed_up_with_the_old_one",),
    ),
    Mutant(
        name="symbolic links are followed",
        file=OPS,
        old="_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC",
        new="_SAFE = os.O_CLOEXEC",
        tests=(FILE + "odd_files_are_refused",),
    ),
)
