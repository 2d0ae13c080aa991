"""Bugs of the SQLite storage: settings, transactions, owners, and what is said of damage and failures."""

from mutant import Mutant

STORAGE, ERROR, FILE, LOCK, OWNER, ROW, THREAD = (
    f"storage/sqlite/{name}.py" for name in ("storage", "error", "file", "lock", "owner", "row", "thread")
)

CONFORMANCE = "tests/storage/test_conformance.py::TestSqliteStorage::test_"
SETTINGS, FAULT, CRASH = (f"tests/storage/test_sqlite{name}.py::test_" for name in ("", "_fault", "_crash"))
ERRORS = f"{FAULT}each_error_is_typed_and_the_number_may_be_tried_again"
DAMAGED = f"{CRASH}a_damaged_page_never_makes_less_of_it"
DELETED = "tests/storage/test_delete_damaged.py::test_"
ROWS = f"{CRASH}rows_that_are_not_what_was_written"

SQLITE = (
    Mutant(
        name="what another damaged run may own goes with a damaged one",
        file="storage/sqlite/doomed.py",
        old="if not all(map(self.is_sound,",
        new="if not any(map(self.is_sound,",
        tests=(DELETED + "of_two_damaged_rows_each_keeps_what_may_be_its_own",),
    ),
    Mutant(
        name="the number in a damaged row is believed",
        file="storage/sqlite/doomed.py",
        old="            _UNKNOWN,\n",
        new="            row[1],\n",
        tests=(DELETED + "a_damaged_row",),
    ),
    Mutant(
        name="commits are not synced",
        file=FILE,
        old='("synchronous", "2")',
        new='("synchronous", "1")',
        tests=(f"{SETTINGS}settings_are_really_set",),
    ),
    Mutant(
        name="settings are not read back",
        file=FILE,
        old='(found := _value(db, f"PRAGMA {setting}")) != value',
        new='(found := _value(db, f"PRAGMA {setting}")) == "nothing"',
        tests=(f"{SETTINGS}a_setting_that_does_not_take_is_refused",),
    ),
    Mutant(
        name="a transaction that writes begins as a reader",
        file=FILE,
        old='"BEGIN IMMEDIATE" if write else "BEGIN"',
        new='"BEGIN"',
        tests=(f"{CONFORMANCE}racing_writers",),
    ),
    Mutant(
        name="a foreign database is opened to look at it",
        file=FILE,
        old='_uri(self._path, "ro&immutable=1")',
        new='_uri(self._path, "rw")',
        tests=(f"{SETTINGS}what_is_not_ours_is_refused_and_untouched",),
    ),
    Mutant(
        name="the version is looked at in the file alone, not in the log",
        file=FILE,
        old="            self._settle(db)\n            self._check_version(db)\n",
        new="            self._settle(db)\n",
        tests=(f"{SETTINGS}a_newer_layout_that_is_only_in_the_log_is_refused",),
    ),
    Mutant(
        name="a new database gets its name before it is synced",
        file=FILE,
        old="            self._ops.fsync(fd)\n",
        new="            pass\n",
        tests=(f"{SETTINGS}a_new_database_gets_its_name_whole_and_durably",),
    ),
    Mutant(
        name="the name of a new database is not synced",
        file=FILE,
        old="self._ops.fsync_folder(str(PurePath(self._path).parent))",
        new="pass",
        tests=(f"{SETTINGS}a_new_database_gets_its_name_whole_and_durably",),
    ),
    Mutant(
        name="a database that was moved away goes on being written",
        file=FILE,
        old="            self._refuse_moved()\n            return self._db\n",
        new="            return self._db\n",
        tests=(f"{SETTINGS}a_file_that_is_moved_away_takes_no_entry",),
    ),
    Mutant(
        name="a commit into a database that was moved away is acknowledged",
        file=FILE,
        old="        if write:\n            self._refuse_lost()\n",
        new="",
        tests=(f"{SETTINGS}a_file_that_is_moved_away_during_a_commit_leaves_it_unknown",),
    ),
    Mutant(
        name="what a killed owner left in the log stays there",
        file=FILE,
        old="                self._checkpoint(db, cut=True)\n",
        new="                pass\n",
        tests=(f"{CRASH}what_a_killed_owner_left_in_the_log_is_brought_into_the_database",),
    ),
    Mutant(
        name="the log is never cut off",
        file=FILE,
        old="self._checkpoint(db, cut=size > WAL_BYTES)",
        new="pass",
        tests=(f"{CRASH}the_log_does_not_grow_without_bound",),
    ),
    Mutant(
        name="the log begins anew only when it is long",
        file=FILE,
        old="size > self._tolerated_bytes or db.total_changes >= self._next_changes",
        new="size > self._tolerated_bytes",
        tests=(f"{CRASH}many_small_commits_do_not_make_a_long_log",),
    ),
    Mutant(
        name="one free page is given back, not all",
        file=FILE,
        old="db.executescript(",
        new="db.execute(",
        tests=(f"{CRASH}a_deleted_run_gives_its_space_back",),
    ),
    Mutant(
        name="a failed upkeep fails what was committed",
        file=FILE,
        old="        with suppress(sqlite3.Error):\n            size =",
        new="        with suppress(ValueError):\n            size =",
        tests=(f"{FAULT}what_was_committed_is_acknowledged_although_the_upkeep_fails",),
    ),
    Mutant(
        name="a failed commit is taken for one that did not happen",
        file=ERROR,
        old='    return UnknownOutcomeError(f"{name}: a commit',
        new='    return StorageError(f"{name}: a commit',
        tests=(ERRORS,),
    ),
    Mutant(
        name="a transaction that failed is left open",
        file=FILE,
        old='                db.execute("ROLLBACK")\n',
        new="                pass\n",
        tests=(ERRORS,),
    ),
    Mutant(
        name="the owner's token is not compared",
        file=OWNER,
        old="(run is not None and run.owner != own.held.token)",
        new="False",
        tests=(f"{CONFORMANCE}the_old_owner_is_fenced_at_once",),
    ),
    Mutant(
        name="the number of an entry is not compared with the head",
        file=STORAGE,
        old="if sequence != run.head + 1:",
        new="if sequence <= run.head:",
        tests=(f"{CONFORMANCE}only_the_next_number_is_taken",),
    ),
    Mutant(
        name="a living owner is taken for dead",
        file=LOCK,
        old="return not self._ops.lock(fd, shared=True)",
        new="return False",
        tests=(f"{CONFORMANCE}a_living_owner_is_respected",),
    ),
    Mutant(
        name="the lock of a killed owner's file is not looked at",
        file=LOCK,
        old="return not self._ops.lock(fd, shared=True)",
        new="return True",
        tests=(f"{FAULT}what_a_killed_process_acknowledged_is_there",),
    ),
    Mutant(
        name="the files of owners that were killed are never removed",
        file=OWNER,
        old="        self.forget(run.owner)",
        new="        pass",
        tests=(f"{FAULT}what_a_killed_process_acknowledged_is_there",),
    ),
    Mutant(
        name="a claim that was not committed keeps its lock",
        file=OWNER,
        old="            self._files.let_go(held)\n            raise",
        new="            raise",
        tests=(f"{FAULT}a_claim_that_was_not_committed_is_nobodys",),
    ),
    Mutant(
        name="unfinished blobs outlive their owner",
        file=OWNER,
        old="rows.delete_unfinished(run)",
        new="run",
        tests=(f"{CONFORMANCE}an_unfinished_blob_dies_with_its_owner",),
    ),
    Mutant(
        name="what a killed owner had acknowledged is not asked",
        file=OWNER,
        old="max(run.head, self._files.marked(run.owner))",
        new="run.head",
        tests=(f"{CRASH}acknowledged_entries_that_a_damaged_log_hides_are_missed",),
    ),
    Mutant(
        name="a damaged id makes a run unknown",
        file=ROW,
        old="            if row := self._row(side, key):\n                self._run(row)\n",
        new="            pass\n",
        tests=(ROWS,),
    ),
    Mutant(
        name="the seal of a run is not looked at",
        file=ROW,
        old="""\
        if not self.is_sound(row):
            raise damaged(self._name, "the row of a run""",
        new="""\
        if False:
            raise damaged(self._name, "the row of a run""",
        tests=(ROWS,),
    ),
    Mutant(
        name="entries that vanished at the end are not missed",
        file=ROW,
        old="    if at_end and last < run.head:",
        new="    if False:",
        tests=(ROWS,),
    ),
    Mutant(
        name="entries that vanished between others are not missed",
        file=ROW,
        old="        if entry.sequence > last + 1:",
        new="        if False:",
        tests=(ROWS,),
    ),
    Mutant(
        name="the metadata of an entry are not sealed",
        file=ROW,
        old="    return bool(row[6] == _seal(*row[:6], row[7]))",
        new="    return bool(row[6])",
        tests=(ROWS,),
    ),
    Mutant(
        name="the bytes of an entry are not compared with their digest",
        file=ROW,
        old="_is_sealed(row) and _digest(row[8]) == row[5]",
        new="_is_sealed(row)",
        tests=(ROWS,),
    ),
    Mutant(
        name="the bytes of a blob are not compared with their digest",
        file=ROW,
        old="row[3] == _seal(*row[:3], _digest(row[4]))",
        new="True",
        tests=(f"{CRASH}bytes_of_a_blob_that_are_not_what_was_written",),
    ),
    Mutant(
        name="blobs that vanished are not missed",
        file=ROW,
        old="        if len(rows) != run.blobs:",
        new="        if False:",
        tests=(DAMAGED,),
    ),
    Mutant(
        name="messages that vanished are not missed",
        file=ROW,
        old="        if len(found) < run.messages:",
        new="        if False:",
        tests=(DAMAGED,),
    ),
    Mutant(
        name="a forked child closes its parent's connections",
        file=THREAD,
        old="initargs=(self.file,)",
        new="initargs=(None,)",
        tests=(f"{FAULT}a_forked_child_leaves_the_connections_of_its_parent_alone",),
    ),
    Mutant(
        name="a fork does not wait for the database",
        file=THREAD,
        old="before=_before_fork",
        new="before=int",
        tests=(f"{FAULT}a_fork_waits_for_the_call_that_is_under_way",),
    ),
    Mutant(
        name="a forked child keeps the locks of its parent",
        file=STORAGE,
        old="        self._ownership.leave_to_parent()\n",
        new="",
        tests=(
            "tests/faults/test_fork.py::test_a_child_that_outlives_its_killed_parent_keeps_nobody_from_the_run",
        ),
    ),
)
