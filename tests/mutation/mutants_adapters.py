"""Bugs of the adapters: money that is wrong, things dropped silently, calls made that must not be."""

from mutant import Mutant

A = "adapters"
PRICES, REPLY, FIELDS, JSON = (f"{A}/{name}.py" for name in ("prices", "reply", "fields", "json_value"))
OPENAI, ANTHROPIC = f"{A}/openai", f"{A}/anthropic"

TRIPS, MODEL, OPENAI_FORM, ANTHROPIC_FORM = (
    f"tests/adapters/test_{name}.py::test_"
    for name in ("adapter_round_trips", "model_reply", "openai_form", "anthropic_form")
)

ADAPTERS = (
    Mutant(
        name="what came from a cache is charged as input, too",
        file=PRICES,
        old="plain = usage.input_tokens - usage.cached_tokens -",
        new="plain = usage.input_tokens -",
        tests=(MODEL + "what_a_call_has_cost",),
    ),
    Mutant(
        name="a cost is rounded down",
        file=PRICES,
        old="return -(-cost // _PER)",
        new="return cost // _PER",
        tests=(MODEL + "what_a_call_has_cost",),
    ),
    Mutant(
        name="calls of a reply that was cut off are made",
        file=REPLY,
        old="case StopReason.TOOL_CALLS:",
        new="case StopReason.TOOL_CALLS | StopReason.LENGTH:",
        tests=(MODEL + "what_is_no_whole_answer_fails_the_task",),
    ),
    Mutant(
        name="what a message cannot hold is dropped silently",
        file=FIELDS,
        old="if name not in ignore and value not in _NOTHING:",
        new="if False:",
        tests=(OPENAI_FORM + "a_response_that_cannot_be_kept_is_refused_with_its_place",),
    ),
    Mutant(
        name="arguments that cannot be kept get into a message",
        file=JSON,
        old='check_plain(value, "arguments")',
        new="pass",
        tests=(OPENAI_FORM + "arguments_that_are_no_object_are_kept_as_the_model_wrote_them",),
    ),
    Mutant(
        name="arguments change on their way: what is no number becomes null",
        file=JSON,
        old="json.dumps(value, allow_nan=False,",
        new="json.dumps(value, allow_nan=True,",
        tests=(OPENAI_FORM + "what_cannot_be_said_is_refused_with_its_place",),
    ),
    Mutant(
        name="that a call failed is not said",
        file=f"{OPENAI}/write.py",
        old='output = f"{_ERROR}{part.output}" if part.is_error else part.output',
        new="output = part.output",
        tests=(OPENAI_FORM + "a_conversation_as_it_is_sent",),
    ),
    Mutant(
        name="thoughts counted in the total only are not charged",
        file=f"{OPENAI}/usage.py",
        old="        total - given,\n",
        new="        made,\n",
        tests=(OPENAI_FORM + "thoughts_that_are_counted_in_the_total_only_are_output",),
    ),
    Mutant(
        name="a stream that was cut off counts as a reply",
        file=f"{OPENAI}/stream.py",
        old="if not self._finish:",
        new='self._finish = self._finish or "stop"\n        if False:',
        tests=(OPENAI_FORM + "a_stream_that_was_cut_off_is_no_reply",),
    ),
    Mutant(
        name="two calls under one index become one",
        file=f"{OPENAI}/stream.py",
        old="if name in self._known:",
        new="if False:",
        tests=(OPENAI_FORM + "a_chunk_that_is_none_is_refused_with_its_place",),
    ),
    Mutant(
        name="input that a cache gave is not counted",
        file=f"{ANTHROPIC}/usage.py",
        old='fields.count("input_tokens") + cached + written',
        new='fields.count("input_tokens") + written',
        tests=(ANTHROPIC_FORM + "a_response_is_a_reply_with_its_usage",),
    ),
    Mutant(
        name="usage of a stream is that of its begin",
        file=f"{ANTHROPIC}/stream.py",
        old="self._usage |= {",
        new="self._usage = self._usage or {",
        tests=(ANTHROPIC_FORM + "a_stream_shows_what_is_new_and_counts_from_the_beginning",),
    ),
    Mutant(
        name="a result in several texts loses all but the first",
        file=f"{ANTHROPIC}/block.py",
        old="if len(blocks) > 1 or not isinstance(only, Text):",
        new="only = blocks[0][1] if blocks else only\n    if not isinstance(only, Text):",
        tests=(ANTHROPIC_FORM + "a_request_that_messages_cannot_hold_is_refused_with_its_place",),
    ),
    Mutant(
        name="text after a call is put before it",
        file=f"{ANTHROPIC}/read.py",
        old="        elif calls:\n",
        new="        elif False:\n",
        tests=(ANTHROPIC_FORM + "a_response_that_cannot_be_kept_is_refused_with_its_place",),
    ),
)
