"""Prices of a model, and what a call has cost by them."""

from __future__ import annotations

from msgspec import Struct, structs

from kernelckpt.adapters.reply import ModelReply
from kernelckpt.adapters.usage import Usage
from kernelckpt.errors import InvalidValueError
from kernelckpt.model.charge import Charge

_PER = 1_000_000
"""Prices are for so many tokens."""


class Prices(Struct, frozen=True, kw_only=True):
    """Prices in millionths of the user's currency for a million tokens: 2_500_000 for 2.50 a million.

    Attributes:
        input: of tokens of the prompt.
        output: of tokens of the reply, and of those that the model has thought.
        cached: of tokens of the prompt that came from a cache; by default as `input`.
        cache_write: of those that were written to a cache; by default as `input`.
        cache_write_1h: of those that were written to a cache for an hour; by default as `cache_write`.
        audio: of those that are sound; by default as `input`.
    """

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio: int | None = None

    def __post_init__(self) -> None:
        """Raise `InvalidValueError` for what is no price."""
        for name, price in structs.asdict(self).items():
            is_default = price is None and name not in {"input", "output"}
            if not is_default and (type(price) is not int or price < 0):
                message = f"prices.{name}: not a whole number of 0 or more"
                raise InvalidValueError(
                    message, path=f"prices.{name}", hint="millionths for a million tokens"
                )

    def cost_micros(self, usage: Usage) -> int:
        """What this has cost, in millionths, rounded up.

        Raises:
            InvalidValueError: the numbers of the usage contradict each other.
        """
        if usage.misfit:
            raise InvalidValueError(f"usage: {usage.misfit}", path="usage", hint="see the fields of Usage")
        cache_write = _or(self.cache_write, self.input)
        written = usage.cache_write_tokens - usage.cache_write_1h_tokens
        plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.audio_tokens
        cost = (
            plain * self.input
            + usage.output_tokens * self.output
            + usage.cached_tokens * _or(self.cached, self.input)
            + written * cache_write
            + usage.cache_write_1h_tokens * _or(self.cache_write_1h, cache_write)
            + usage.audio_tokens * _or(self.audio, self.input)
        )
        return -(-cost // _PER)

    def charge(self, reply: ModelReply) -> Charge:
        """What a reply has cost: for `tool(charge=prices.charge)`.

        Raises:
            InvalidValueError: the provider has not said what was used.
        """
        if reply.usage is None:
            hint = "ask for it: stream_options={'include_usage': True} for a stream in OpenAI's form"
            raise InvalidValueError("usage: the provider has not said it", path="usage", hint=hint)
        return Charge(reply.usage.total_tokens, self.cost_micros(reply.usage))


def _or(price: int | None, otherwise: int) -> int:
    return otherwise if price is None else price
