"""What a model has answered, and how a turn ends with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, TypeVar

from kernelckpt.adapters.usage import Usage
from kernelckpt.model.message import Message
from kernelckpt.model.record import Record

_Next_co = TypeVar("_Next_co", covariant=True)


class StopReason(StrEnum):
    """Why a model has said no more."""

    END = "end"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    FILTERED = "filtered"
    REFUSED = "refused"
    PAUSED = "paused"


class EndsTurns(Protocol[_Next_co]):
    """What of a turn is needed to end it with a reply."""

    def append(self, message: Message) -> None:
        """Stage a message."""

    def request(self, reply: Message) -> _Next_co:
        """Have the calls of a message made."""

    def complete(self, text: str) -> _Next_co:
        """The task is done."""

    def fail(self, text: str) -> _Next_co:
        """The task has failed."""


class ModelReply(Record, frozen=True):
    """A model's answer; fit to be what a call through the ledger returns.

    Attributes:
        message: the assistant's message.
        stop: why it ends.
        usage: what the call has used; None if the provider has not said.
        model: the model's name, as the provider gives it.
        id: the answer's id, as the provider gives it.
        refusal: the words with which the model refused to answer, where they are no part of the message.
        stop_sequence: the text at which it stopped, if it was told to stop there and the provider says so.
    """

    message: Message
    stop: StopReason
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    refusal: str = ""
    stop_sequence: str = ""

    def end(self, turn: EndsTurns[_Next_co]) -> _Next_co | None:
        """End a turn as the answer ends.

        With calls to be made, the message is requested. With none, it is appended and the task completes
        with its text; after a pause it is appended and there is another turn. What was cut off, filtered or
        refused fails the task: look at `stop` first if it is to try again.

        Returns:
            What the program returns.
        """
        match self.stop:
            case StopReason.TOOL_CALLS:
                return turn.request(self.message)
            case StopReason.END:
                if self.message.content:  # else it says nothing, and not all providers take that back
                    turn.append(self.message)
                return turn.complete(self.message.text)
            case StopReason.PAUSED:
                turn.append(self.message)
                return None
            case StopReason.LENGTH:
                return turn.fail("the model's reply was cut off at its longest")
            case StopReason.FILTERED:
                return turn.fail("the model's reply was filtered")
        return turn.fail(f"the model refused: {self.refusal or self.message.text or 'it gave no reason'}")
