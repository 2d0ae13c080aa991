"""Usage in Anthropic's form: the input without what a cache gave or took, which is counted beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelckpt.adapters.fields import Fields, misfit
from kernelckpt.adapters.refuse import unsayable
from kernelckpt.adapters.usage import Usage


def from_usage(usage: Mapping[str, Any], *, path: str = "usage") -> Usage:
    """What a call has used.

    Args:
        usage: the `usage` of a response.
        path: where it is, for errors.

    Raises:
        DecodeError: a number is none, or they contradict each other.
    """
    fields = Fields(usage, path)
    cached, written = (fields.count(f"cache_{what}_input_tokens", 0) for what in ("read", "creation"))
    found = Usage(
        fields.count("input_tokens") + cached + written,
        fields.count("output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=fields.maybe("cache_creation").count("ephemeral_1h_input_tokens", 0),
        reasoning_tokens=fields.maybe("output_tokens_details").count("thinking_tokens", 0),
    )
    if found.misfit:
        raise misfit(path, found.misfit)
    return found


def to_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` of a response.

    Raises:
        InvalidValueError: the numbers contradict each other, or some are of sound, which cannot be said here.
    """
    if usage.misfit:
        raise unsayable("usage", usage.misfit)
    if usage.audio_tokens:
        raise unsayable("usage.audio_tokens", "cannot be said in Anthropic's form")
    hour = usage.cache_write_1h_tokens
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - hour,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
