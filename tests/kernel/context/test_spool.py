"""Spooling of large tool results."""

from __future__ import annotations

import pytest

from kernelckpt.kernel.context.spool import marker_of, preview
from kernelckpt.model.context_config import ContextConfig

SMALL = ContextConfig(spool_threshold_bytes=100, spool_preview_bytes=32)


def test_large_tool_result_is_spooled():
    found = preview("x" * 61_440, ContextConfig())
    assert found.total_bytes == 61_440
    assert found.preview_bytes == 2_048
    assert len(found.text) < 8 * 1024
    assert found.text.startswith("x" * 2_048 + "\n")
    assert "2048 of 61440 bytes" in found.text


def test_small_tool_result_is_not_spooled():
    assert preview("x" * 51_200, ContextConfig()) is None
    assert preview("", ContextConfig()) is None


def test_output_over_the_threshold_keeps_a_preview():
    found = preview("x" * 1_000, SMALL)
    assert found.preview_bytes == 32
    assert found.text.split("\n")[0] == "x" * 32


def test_threshold_zero_spools_nothing():
    assert preview("x" * 1_000_000, ContextConfig(spool_threshold_bytes=0)) is None


@pytest.mark.parametrize(
    ("output", "spooled"), [("é" * 50, False), ("é" * 50 + "x", True), ("😀" * 26, True)]
)
def test_the_threshold_is_in_bytes(output, spooled):
    assert (preview(output, SMALL) is not None) is spooled


@pytest.mark.parametrize(("letter", "size"), [("é", 32), ("漢", 30), ("😀", 32)])
def test_multi_byte_cut_stays_valid(letter, size):
    found = preview(letter * 500, SMALL)
    assert found.preview_bytes == size
    assert found.text.startswith(letter * (size // len(letter.encode())) + "\n")
    assert found.total_bytes == 500 * len(letter.encode())


def test_a_preview_is_never_larger_than_the_threshold():
    config = ContextConfig(spool_threshold_bytes=100, spool_preview_bytes=5_000)
    assert preview("x" * 4_000, config).preview_bytes == 100


def test_the_marker_is_found_again():
    text = preview("x" * 1_000, SMALL).text
    assert text.endswith(marker_of(text))
    assert "call id" in marker_of(text)
    assert marker_of("plain\ntext") == ""
    assert marker_of("a\n[spooled: " + "x" * 1_000) == ""
