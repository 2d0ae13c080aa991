"""What a model is sent: messages, and the tools it may ask for."""

from __future__ import annotations

from kernelckpt.model.capability import ToolSchema
from kernelckpt.model.message import Message
from kernelckpt.model.record import Record


class Conversation(Record, frozen=True):
    """Messages in their order, those of the system first, and what the model is told of its tools."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
