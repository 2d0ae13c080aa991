"""Bugs of the object storage that show without a server."""

from mutant import Mutant

RECORD, OWNER, LOG, CACHE = (f"storage/objects/{name}.py" for name in ("record", "owner", "log", "cache"))
PARTS = "tests/storage/test_objects_parts.py::test_"

OBJECTS = (
    Mutant(
        name="an object that was cut off within its body is whole",
        file=RECORD,
        old="if total < start + size:",
        new="if total < start:",
        tests=(f"{PARTS}a_record_cut_off_anywhere_is_torn",),
    ),
    Mutant(
        name="a header is believed although its sum is wrong",
        file=RECORD,
        old="zlib.crc32(data[: _FIXED.size]) != check",
        new="check < 0",
        tests=(f"{PARTS}a_record_changed_anywhere_is_damaged",),
    ),
    Mutant(
        name="an owner that gave the run up is alive",
        file=OWNER,
        old="newest.kind == RELEASED",
        new="newest.kind == -1",
        tests=(f"{PARTS}who_is_alive_is_judged_by_the_server_alone",),
    ),
    Mutant(
        name="an append is no sign of life",
        file=OWNER,
        old="else [tail.modified, owner.found.modified]",
        new="else [owner.found.modified]",
        tests=(f"{PARTS}who_is_alive_is_judged_by_the_server_alone",),
    ),
    Mutant(
        name="the end of the log is looked for from its beginning each time",
        file=LOG,
        old="self._page(max(self._greatest - 1, 0))",
        new="self._page(0)",
        tests=(f"{PARTS}the_end_is_found_in_a_few_pages",),
    ),
    Mutant(
        name="the end of the log is where one stride goes too far",
        file=LOG,
        old="stride = stride // _STRIDE if stride > PAGE else 0",
        new="break",
        tests=(f"{PARTS}the_end_is_found_in_a_few_pages",),
    ),
    Mutant(
        name="the cache forgets what is used most",
        file=CACHE,
        old="self._records.move_to_end(key)",
        new="pass",
        tests=(f"{PARTS}a_cache_holds_what_was_used_last",),
    ),
    Mutant(
        name="requests go on, and hold their slots, beside one that has failed",
        file="storage/together.py",
        old="except BaseException:",
        new="except asyncio.CancelledError:",
        tests=(f"{PARTS}of_requests_made_together_none_goes_on_when_one_has_failed",),
    ),
)
