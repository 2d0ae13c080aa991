"""Tokens of a model call, counted alike for every provider."""

from __future__ import annotations

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U64


class Usage(Record, frozen=True, gc=False):
    """What a call has used.

    Attributes:
        input_tokens: all of the prompt, with what came from a cache or was written to one.
        output_tokens: all of the reply, with what the model has thought.
        cached_tokens: those of the input that came from a cache.
        cache_write_tokens: those of the input that were written to a cache.
        cache_write_1h_tokens: those of the cache writes that are kept for an hour.
        audio_tokens: those of the input that are sound.
        reasoning_tokens: those of the output that the model has thought.
    """

    input_tokens: U64 = 0
    output_tokens: U64 = 0
    cached_tokens: U64 = 0
    cache_write_tokens: U64 = 0
    cache_write_1h_tokens: U64 = 0
    audio_tokens: U64 = 0
    reasoning_tokens: U64 = 0

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    @property
    def misfit(self) -> str:
        """Why these numbers cannot be true; "" if they can."""
        parts = self.cached_tokens + self.cache_write_tokens + self.audio_tokens
        if parts > self.input_tokens:
            return f"{parts} tokens that were cached, written to a cache or sound, of {self.input_tokens}"
        if self.cache_write_1h_tokens > self.cache_write_tokens:
            return f"{self.cache_write_1h_tokens} tokens cached for an hour, of {self.cache_write_tokens}"
        if self.reasoning_tokens > self.output_tokens:
            return f"{self.reasoning_tokens} tokens thought, of {self.output_tokens}"
        return ""
