"""Excerpts of texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.kernel.context.excerpt import excerpt, head_bytes

NUMBERS = " ".join(map(str, range(400)))


def test_the_beginning_with_a_note():
    text = excerpt(NUMBERS, 100)
    head, note, end = text.split("\n")
    assert NUMBERS.startswith(head)
    assert note == f"[... {len(NUMBERS) - len(head)} of {len(NUMBERS)} characters left out ...]"
    assert end == ""
    assert 95 <= len(text) <= 100


def test_beginning_and_end():
    head, note, end = excerpt(NUMBERS, 200, with_tail=True).split("\n")
    assert NUMBERS.startswith(head)
    assert NUMBERS.endswith(end)
    assert 0 < len(end) <= len(head) // 2
    assert f" {len(NUMBERS) - len(head) - len(end)} of " in note


def test_an_ending_is_kept_whole():
    ending = NUMBERS[-300:]
    text = excerpt(NUMBERS, 100, with_tail=True, ending=ending)
    assert text.endswith(f"...]\n{ending}")
    assert len(text) <= 100 + len(ending)


@pytest.mark.parametrize(
    ("text", "keep"), [("x" * 60, 42), ("x" * 60, 60), ("x" * 60, 99), ("x" * 60, 1), ("", 9)]
)
def test_nothing_is_gained_on_short_texts(text, keep):
    assert excerpt(text, keep) is None
    assert excerpt(text, keep, ending=text[-5:]) is None


@given(st.text(max_size=300), st.integers(0, 400), st.booleans(), st.integers(0, 60))
def test_an_excerpt_is_shorter_and_says_how_much(text, keep, with_tail, ending):
    end = text[len(text) - min(ending, len(text)) :]
    found = excerpt(text, keep, with_tail=with_tail, ending=end)
    if found is not None:
        assert len(found) < len(text)
        assert found.endswith(end)
        assert found[0] == text[0]
        assert f" of {len(text)} characters left out" in found


@given(st.text(max_size=50), st.integers(0, 120))
def test_a_head_is_cut_between_characters(text, size):
    head = head_bytes(text, size)
    assert text.startswith(head)
    assert len(head.encode()) <= size
    assert head == text or len(head.encode()) + len(text[len(head)].encode()) > size
