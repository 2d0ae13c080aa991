"""The JSON of model providers to messages, tools and usage, and back; no client of theirs is needed."""

from kernelckpt.adapters.conversation import Conversation
from kernelckpt.adapters.delta import CallDelta, Delta, TextDelta
from kernelckpt.adapters.prices import Prices
from kernelckpt.adapters.reply import ModelReply, StopReason
from kernelckpt.adapters.tool_schema import DescribedTool
from kernelckpt.adapters.usage import Usage

__all__ = [
    "CallDelta",
    "Conversation",
    "Delta",
    "DescribedTool",
    "ModelReply",
    "Prices",
    "StopReason",
    "TextDelta",
    "Usage",
]
