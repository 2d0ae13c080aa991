"""Groups of a history: a call and its results are never parted."""

from __future__ import annotations

import pytest
from context_kit import HISTORIES, answer, calling, exchange, pairs, parts_no_pair, say, user
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.kernel.context.groups import boundaries, last_boundary, start_of_newest
from kernelckpt.kernel.context.tokens import sum_tokens
from kernelckpt.model.message import Message, ToolResultPart


def test_plain_messages_are_groups_of_their_own():
    assert boundaries([user(1), say(1), user(1)]) == [0, 1, 2, 3]
    assert boundaries([]) == [0]


def test_a_call_and_all_its_results_are_one_group():
    messages = [user(1), calling("a", "b"), answer("a"), answer("b"), say(1)]
    assert boundaries(messages) == [0, 1, 4, 5]


def test_one_message_may_answer_several_calls():
    both = Message.tool([ToolResultPart("a", ""), ToolResultPart("b", "")])
    assert boundaries([calling("a"), calling("b"), both, user(1)]) == [0, 3, 4]


def test_what_lies_between_belongs_to_the_group():
    assert boundaries([calling("a"), user(1), calling("b"), answer("a"), answer("b"), user(1)]) == [0, 5, 6]


def test_a_call_id_used_again_is_a_new_call():
    assert boundaries([*exchange("a"), *exchange("a"), answer("a")]) == [0, 2, 5]


def test_a_result_without_a_call_and_a_call_without_a_result_stand_alone():
    assert boundaries([answer("a"), calling("a"), user(1)]) == [0, 1, 2, 3]


@pytest.mark.parametrize(("index", "cut"), [(-3, 0), (0, 0), (1, 0), (2, 2), (3, 2), (9, 4)])
def test_the_last_boundary_before_an_index(index, cut):
    assert last_boundary([0, 2, 4], index) == cut


def test_the_newest_that_fit_stop_at_the_first_that_does_not():
    messages = [user(1), user(50), user(10), *exchange("a", 9), user(10)]
    assert start_of_newest(messages, 30) == 2
    assert start_of_newest(messages, 29) == 3
    assert start_of_newest(messages, 19) == 5
    assert start_of_newest(messages, 9) == 6
    assert start_of_newest(messages, 80) == 1
    assert start_of_newest(messages, 81) == 0


@given(HISTORIES)
def test_boundaries_are_all_the_cuts_that_part_no_pair(messages):
    cuts = [cut for cut in range(len(messages) + 1) if parts_no_pair(messages, cut)]
    assert boundaries(messages) == cuts


@given(HISTORIES, st.integers(0, 9_000))
def test_the_newest_that_fit_are_the_most_that_do(messages, budget):
    start = start_of_newest(messages, budget)
    assert parts_no_pair(messages, start)
    assert sum_tokens(messages[start:]) <= budget
    longer = [cut for cut in range(start) if parts_no_pair(messages, cut)]
    assert not longer or sum_tokens(messages[longer[-1] :]) > budget


def test_a_long_history_is_read_once():
    class Watched(list):
        reads = 0

        def __getitem__(self, index):
            Watched.reads += 1
            return super().__getitem__(index)

    messages = Watched(message for number in range(5_000) for message in exchange(f"c{number}"))
    assert start_of_newest(messages, 10**9) == 0
    assert Watched.reads <= 2 * len(messages)
    assert len(pairs(messages[:50])) == 25
