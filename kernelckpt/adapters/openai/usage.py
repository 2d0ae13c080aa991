"""Usage in OpenAI's form: the prompt with what was cached, the completion with what was thought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelckpt.adapters.fields import Fields, misfit
from kernelckpt.adapters.refuse import unsayable
from kernelckpt.adapters.usage import Usage


def from_usage(usage: Mapping[str, Any], *, path: str = "usage") -> Usage:
    """What a call has used.

    Of servers that count what was thought in the total only, the rest of the total is taken for it.

    Args:
        usage: the `usage` of a response.
        path: where it is, for errors.

    Raises:
        DecodeError: a number is none, or they contradict each other.
    """
    fields = Fields(usage, path)
    given, made = fields.count("prompt_tokens"), fields.count("completion_tokens")
    total = fields.count("total_tokens", given + made)
    if total < given + made:
        raise misfit(fields.at("total_tokens"), f"{total}, less than {given} and {made}")
    prompt, completion = fields.maybe("prompt_tokens_details"), fields.maybe("completion_tokens_details")
    found = Usage(
        given,
        total - given,
        cached_tokens=prompt.count("cached_tokens", 0),
        audio_tokens=prompt.count("audio_tokens", 0),
        reasoning_tokens=max(completion.count("reasoning_tokens", 0), total - given - made),
    )
    if found.misfit:
        raise misfit(path, found.misfit)
    return found


def to_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` of a response.

    Raises:
        InvalidValueError: the numbers contradict each other, or tokens were written to a cache, which cannot
            be said here.
    """
    if usage.misfit:
        raise unsayable("usage", usage.misfit)
    if usage.cache_write_tokens:
        raise unsayable("usage.cache_write_tokens", "cannot be said in OpenAI's form")
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": usage.audio_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
