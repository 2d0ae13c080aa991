"""Bugs in storages that stand before others, and in what is judged of a Redis server before it is used."""

from mutant import Mutant

RETRYING, METERED, READ_ONLY = (f"storage/{name}.py" for name in ("retrying", "metered", "read_only"))
SETTING, SERVER, KEY = (f"storage/redis/{name}.py" for name in ("setting", "server", "key"))
WRAPPED = "tests/storage/test_wrappers.py::test_"
OFFLINE = "tests/storage/test_redis_offline.py::test_"

WRAPPERS = (
    Mutant(
        name="an append that failed is made again",
        file=RETRYING,
        old='"acquire",\n',
        new='"acquire",\n        "append",\n',
        tests=(f"{WRAPPED}what_may_be_repeated_is_tried_again",),
    ),
    Mutant(
        name="a post is made once",
        file=RETRYING,
        old='        "post",\n',
        new="",
        tests=(f"{WRAPPED}what_may_be_repeated_is_tried_again",),
    ),
    Mutant(
        name="a time-out is no reason to try again",
        file=RETRYING,
        old="(StorageUnavailableError, UnknownOutcomeError, TimeoutError) as error",
        new="(StorageUnavailableError, UnknownOutcomeError) as error",
        tests=(f"{WRAPPED}what_may_be_repeated_is_tried_again",),
    ),
    Mutant(
        name="waits before tries grow without an end",
        file=RETRYING,
        old="min(longest, first * 2**failed)",
        new="first * 2**failed",
        tests=(f"{WRAPPED}what_may_be_repeated_is_tried_again",),
    ),
    Mutant(
        name="a closed storage is tried again",
        file=RETRYING,
        old="self._closed or not waits",
        new="not waits",
        tests=(f"{WRAPPED}a_closed_storage_is_not_tried_again",),
    ),
    Mutant(
        name="a run that was deleted by a try without an answer is not found",
        file=RETRYING,
        old='call.method == "delete_run" and failed is not None',
        new="False",
        tests=(f"{WRAPPED}a_repeated_call_whose_first_answer_was_lost_is_done_once",),
    ),
    Mutant(
        name="a run that never was counts as deleted",
        file=RETRYING,
        old='call.method == "delete_run" and failed is not None',
        new='call.method == "delete_run"',
        tests=(f"{WRAPPED}other_errors_are_answers",),
    ),
    Mutant(
        name="a call that failed is not measured",
        file=METERED,
        old="            self._note(call, began, 0, type(error).__name__)\n",
        new="",
        tests=(f"{WRAPPED}each_call_is_measured",),
    ),
    Mutant(
        name="what is posted is not counted as read",
        file=METERED,
        old="sum(len(item.data)",
        new="sum(0 * len(item.data)",
        tests=(f"{WRAPPED}each_call_is_measured",),
    ),
    Mutant(
        name="a storage that is only read lets a run be acquired",
        file=READ_ONLY,
        old='{\n        "aclose",',
        new='{\n        "acquire",\n        "aclose",',
        tests=(f"{WRAPPED}only_what_reads_reaches_a_storage_that_is_only_read",),
    ),
    Mutant(
        name="the newest entries are asked for by other calls than they were",
        file="abc/wrapper.py",
        old="partial(self._storage.list_newest, run_id, limit=limit)",
        new="partial(super().list_newest, run_id, limit=limit)",
        tests=(f"{WRAPPED}each_call_is_passed_on_under_its_name",),
    ),
    Mutant(
        name="entries and blobs are asked for one after the other where one call would do",
        file="abc/wrapper.py",
        old="partial(self._storage.overview, run_id, limit=limit)",
        new="partial(super().overview, run_id, limit=limit)",
        tests=(f"{WRAPPED}each_call_is_passed_on_under_its_name",),
    ),
    Mutant(
        name="a Redis server may leave syncs out while it rewrites",
        file=SETTING,
        old=', "no-appendfsync-on-rewrite": "no"}',
        new="}",
        tests=(f"{OFFLINE}a_setting_that_is_not_told_is_not_taken_for_right",),
    ),
    Mutant(
        name="a Redis server keeps everything as soon as it was told to",
        file=SETTING,
        old="return _begun(url, info or {})",
        new="return Verdict(durable=True)",
        tests=(f"{OFFLINE}a_server_that_begins_its_file_keeps_nothing_yet",),
    ),
    Mutant(
        name="a Redis server may evict runs",
        file=SETTING,
        old='if policy != "noeviction":',
        new="if False:",
        tests=(f"{OFFLINE}a_server_of_another_kind_is_refused_whatever_is_accepted",),
    ),
    Mutant(
        name="trust goes before what a Redis server shows",
        file=SETTING,
        old="    if settings is None:\n",
        new="    if settings is None or url.assume_durable:\n",
        tests=(f"{OFFLINE}a_setting_that_is_not_told_is_not_taken_for_right",),
    ),
    Mutant(
        name="an append that Redis gave no answer to is taken for not made",
        file=SERVER,
        old="self._meaning(error, doubtful=doubtful)",
        new="self._meaning(error)",
        tests=(f"{OFFLINE}what_a_server_answers_to_an_append",),
    ),
    Mutant(
        name="the memory of an older Redis is never full",
        file=SERVER,
        old='    ("OOM command not allowed", StorageFullError, _MEMORY),\n',
        new="",
        tests=(f"{OFFLINE}what_a_server_answers_to_an_append",),
    ),
    Mutant(
        name="a brace in a run's id ends its slot",
        file=KEY,
        old="safe=''",
        new="safe='{}'",
        tests=(f"{OFFLINE}all_keys_of_a_run_hash_to_one_slot",),
    ),
)
