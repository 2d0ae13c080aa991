"""The transcript that a session log amounts to."""

from __future__ import annotations

import pytest

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.events.repair import TRUNCATED
from kernelckpt.kernel.events.replay import reconstruct_messages_with_fallback
from kernelckpt.model.event import LlmCompleted, RunStarted, ToolCompleted, ToolResult
from kernelckpt.model.message import Image, Message, Role, Text, ToolCall, ToolResultPart
from kernelckpt.model.os_event import Compressed, PageOut, Rollbacked, SignalDisposed

START = RunStarted("r", "goal")


def rebuilt(events, *, cap=0, archives=None, positions=None):
    loader = (archives or {}).get
    return reconstruct_messages_with_fallback(events, "s1", cap, loader, positions=positions)


def texts(events, **more):
    return [message.text for message in rebuilt(events, **more)]


def said(*words):
    return [LlmCompleted(turn, Message.assistant(word)) for turn, word in enumerate(words, 1)]


def compressed(low, high, turn=1, **more):
    return Compressed(turn, (low, high), **more)


def test_reconstruct_ignores_categorized_kernel_os_events():
    events = [START, PageOut(1), SignalDisposed(1, "sig", "queue", 1)]
    assert rebuilt(events) == [Message.user("goal")]


def test_a_goal_lists_its_criteria():
    (message,) = rebuilt([RunStarted("r", "goal", ("fast", "right"))])
    assert message == Message.user("goal\n\nCriteria:\n1. fast\n2. right")


def test_answers_and_results_become_messages():
    asking = Message(Role.ASSISTANT, "", (ToolCall("c1", "t"), ToolCall("c2", "t")), token_count=9)
    results = (
        ToolResult("c1", "one", is_error=False, token_count=3),
        ToolResult("c2", "boom", is_error=True),
    )
    assert rebuilt([START, LlmCompleted(1, asking), ToolCompleted(1, results)])[1:] == [
        asking,
        Message(Role.TOOL, (ToolResultPart("c1", "one"),), token_count=3),
        Message.tool_result("c2", "boom", is_error=True),
    ]


def test_structured_outputs_keep_their_text():
    output = (Text("one"), Image(url="u"), ToolResultPart("x", "two"))
    (message,) = rebuilt([ToolCompleted(1, (ToolResult("c", output, is_error=False),))])
    assert message == Message.tool_result("c", "one\n[image]\ntwo")


def test_the_cap_holds_for_answers_results_and_archives():
    events = [
        *said("a" * 20),
        ToolCompleted(1, (ToolResult("c", "b" * 20, is_error=False), ToolResult("d", "你", is_error=False))),
        compressed(0, 0, archive_ref="x"),
    ]
    archives = {"x": [Message.user("z" * 20)]}
    assert texts(events, cap=3, archives=archives) == ["zzz" + TRUNCATED, "bbb" + TRUNCATED, "你"]


def test_a_rollback_cuts_the_history():
    events = [START, *said("one", "two"), Rollbacked(2, 2), *said("three"), Rollbacked(3, 9)]
    assert texts(events) == ["goal", "one", "three"]


# Compression


def test_reconstruct_messages_with_fallback_success_and_degrade():
    events = [
        START,
        compressed(0, 1, summary="sum 1", archive_ref="there"),
        compressed(2, 3, 2, summary="sum 2", archive_ref="missing"),
    ]
    messages = rebuilt(events, archives={"there": [Message.user("inside")]})
    assert messages == [
        Message.user("goal"),
        Message.user("inside"),
        Message.system("[Compressed context: turn 2]\nsum 2"),
    ]


def test_a_summary_takes_the_place_of_what_it_sums_up():
    events = [START, *said("one", "two"), compressed(0, 2, summary="both"), *said("three")]
    assert texts(events) == ["goal", "[Compressed context: turn 1]\nboth", "three"]


def test_only_the_range_is_replaced():
    events = [START, *said("one", "two", "three"), compressed(1, 2, summary="sum")]
    assert texts(events) == ["goal", "[Compressed context: turn 1]\nsum", "three"]


def test_an_archive_takes_the_place_of_the_oldest():
    events = [*said("one", "two", "three"), compressed(0, 2, archive_ref="x"), *said("four")]
    archive = [Message.assistant("ONE"), Message.assistant("TWO")]
    assert texts(events, archives={"x": archive}) == ["ONE", "TWO", "three", "four"]


def test_a_page_out_says_how_many_left():
    events = [
        *said("one", "two", "three"),
        compressed(0, 2, action="auto_compact", summary="sum"),
        PageOut(1, action="auto_compact", message_count=2),
    ]
    assert texts(events) == ["[Compressed context: turn 1]\nsum", "three"]


def test_a_page_out_of_something_else_says_nothing():
    events = [
        *said("one", "two"),
        compressed(0, 0, action="auto_compact", summary="sum"),
        PageOut(2, action="auto_compact", message_count=2),
    ]
    assert texts(events) == ["[Compressed context: turn 1]\nsum", "two"]


def test_later_compressions_go_on_where_the_earlier_one_ended():
    events = [
        *said("one", "two", "three"),
        compressed(0, 2, summary="first"),
        PageOut(1, message_count=2),
        *said("four"),
        compressed(4, 5, 2, summary="second"),
        PageOut(2, message_count=1),
    ]
    heads = [text.partition("\n")[2] or text for text in texts(events)]
    assert heads == ["first", "second", "four"]


@pytest.mark.parametrize("action", ["snip_compact", "micro_compact"])
def test_what_was_only_shortened_stays(action):
    events = [*said("one", "two"), compressed(0, 1, action=action, summary="shortened")]
    assert texts(events) == ["one", "two"]


def test_messages_stay_when_there_is_nothing_in_their_place():
    events = [*said("one", "two"), compressed(0, 1, archive_ref="missing"), *said("three")]
    assert texts(events) == ["one", "two", "three"]


def test_what_is_lost_is_said():
    events = [compressed(0, 7, 3, archive_ref="missing"), *said("nine")]
    assert rebuilt(events) == [
        Message.system(
            "[Compressed context: turn 3]\nlost: session s1 keeps neither the messages nor a summary"
        ),
        Message.assistant("nine"),
    ]


def test_a_rollback_counts_from_where_the_history_begins():
    events = [
        START,
        *said("one", "two"),
        compressed(0, 2, summary="sum"),
        PageOut(1, message_count=2),
        *said("three", "four"),
        Rollbacked(3, 2),
    ]
    assert texts(events) == ["goal", "[Compressed context: turn 1]\nsum", "two", "three"]


def test_positions_place_the_range_in_a_log_with_gaps():
    events = [*said("one", "two"), compressed(0, 5, summary="sum")]
    assert texts(events, positions=[4, 6, 7]) == ["[Compressed context: turn 1]\nsum", "two"]


def test_there_is_a_position_for_each_event():
    with pytest.raises(InvalidValueError, match=r"s1.*2 events and 1 positions"):
        rebuilt(said("one", "two"), positions=[0])


def test_an_archive_that_cannot_be_read_is_an_error_of_its_loader():
    def broken(reference):
        raise OSError(reference)

    with pytest.raises(OSError, match="archive-1"):
        reconstruct_messages_with_fallback([compressed(0, 1, archive_ref="archive-1")], "s1", 0, broken)
