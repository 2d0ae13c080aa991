"""The part of a turn that tells the kernel what its program does with a memory of its own."""

from __future__ import annotations

from kernelckpt.kernel.argument import check_amount, check_name, check_text, texts
from kernelckpt.kernel.governance.gate import refusal_of
from kernelckpt.kernel.turn.context import TurnContext
from kernelckpt.model.event import MemoryRetrieval, MemoryRetrievalResult
from kernelckpt.model.governance import MEMORY_WRITES
from kernelckpt.model.os_event import MemoryQueried, MemoryValidationFailed, MemoryWritten


class TurnMemory(TurnContext):
    """Memory lies outside the kernel: here writes to it pass the quota, and all that is done is noted."""

    def write_memory(self, memory_id: str, kind: str, size_bytes: int) -> None:
        """Take a memory write off the quota, and note it; call this before writing.

        Args:
            memory_id: what is written.
            kind: what sort of memory it is.
            size_bytes: how large it is.

        Raises:
            RateLimitedError: the quota is used up for now.
        """
        self._still_open("write_memory")
        check_name(memory_id, "memory_id")
        check_text(kind, "kind")
        self._core.redactor.refuse(memory_id, "memory_id")
        self._core.redactor.refuse(kind, "kind")
        check_amount(size_bytes, "size_bytes", 0)
        verdict = self._core.gate.write_memory(self._row)
        self._core.state.commit(urgent=False)
        refusal = refusal_of(verdict, MEMORY_WRITES)
        if refusal is not None:
            raise refusal
        self._note(lambda turn: MemoryWritten(turn, memory_id, kind, size_bytes))

    def query_memory(self, query: str, k: int, *, is_async: bool = False) -> None:
        """Note a question to memory.

        Args:
            query: what is asked.
            k: how many answers are wanted.
            is_async: whether the answer comes later.

        Raises:
            InvalidValueError: an argument cannot be kept exactly.
        """
        self._still_open("query_memory")
        check_text(query, "query")
        check_amount(k, "k", 0)
        self._note(lambda turn: MemoryQueried(turn, query, k, is_async))

    def retrieved_memory(self, *memory_ids: str, rationale: str = "") -> None:
        """Note what memory answered, and why these were chosen."""
        self._still_open("retrieved_memory")
        check_text(rationale, "rationale")
        chosen = MemoryRetrieval(texts(memory_ids, "memory_ids"), rationale)
        self._core.redactor.refuse(chosen.selected_memory_ids, "memory_ids")
        self._staged.events += (lambda _: MemoryRetrievalResult(chosen),)

    def invalid_memory(self, memory_id: str, error: str) -> None:
        """Note that something could not be remembered, and why."""
        self._still_open("invalid_memory")
        check_name(memory_id, "memory_id")
        check_text(error, "error")
        self._note(lambda turn: MemoryValidationFailed(turn, memory_id, error))
