"""What a killed kernel had acknowledged, and whether what is left of it still shows all that, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property

import msgspec

from kernelckpt import KernelSnapshot

Filing = tuple[str, int]
"""The task and the turn that filed something."""


class Record:
    """Everything the parent was told, over all lives of the kernel."""

    def __init__(self) -> None:
        self.submitted: set[str] = set()
        self.turns: dict[str, int] = {}
        self.sent: dict[str, bool] = {}
        self.asked: set[tuple[str, str]] = set()
        self.answered: dict[tuple[str, str], str] = {}
        self.joined: dict[str, str] = {}
        self.saved = 0
        self.filings: Counter[Filing] = Counter()
        self.totals: Counter[str] = Counter()

    def forget(self, gone: set[str]) -> None:
        """Drop what was told of tasks that were joined and have left the table."""
        self.submitted -= gone
        for known in (self.turns, self.joined):
            for task_id in gone & known.keys():
                del known[task_id]
        self.sent = {text: acked for text, acked in self.sent.items() if text.split()[0] not in gone}
        self.asked = {pair for pair in self.asked if pair[0] not in gone}
        self.answered = {pair: status for pair, status in self.answered.items() if pair[0] not in gone}
        self.filings = Counter({pair: n for pair, n in self.filings.items() if pair[0] not in gone})


class Check:
    """Compares one snapshot with the record."""

    def __init__(self, record: Record, snapshot: KernelSnapshot, newest: int) -> None:
        self._record = record
        self._snapshot = snapshot
        self._newest = newest
        self._rows = {row.id: row for row in snapshot.tasks}
        self._texts = {
            task_id: [message.text for message in context.history_messages]
            for task_id, context in snapshot.contexts.items()
        }
        for task_id, request in snapshot.requests.items():
            self._texts[task_id].append(request.reply.text)  # it joins the history with its calls' results

    @cached_property
    def gone(self) -> set[str]:
        """Tasks that were joined and then left the table, as `keep_done` allows."""
        helpers = {task for task in self._record.turns if "/" in task and task not in self._rows}
        roots = {task for task in self._record.joined if task not in self._rows}
        return roots | {task for task in helpers if task.split("/")[0] in roots}

    @property
    def in_doubt(self) -> set[str]:
        """What the next restore has to report."""
        return {
            f"{task_id}: {effect.name.rpartition('.')[2]}"
            for task_id, effects in self._snapshot.effects.items()
            for effect in effects.values()
            if effect.status.value == "started"
        }

    def faults(self) -> Iterator[str]:
        """What was lost, applied twice, or never should have been."""
        if self._newest < self._record.saved:
            yield f"checkpoint {self._record.saved} was acknowledged, the newest is {self._newest}"
        yield from self._lost_tasks()
        yield from self._messages()
        yield from self._answers()
        yield from self._filings()
        for task_id in self._rows:
            yield from self._turns(task_id)

    def _lost_tasks(self) -> Iterator[str]:
        for task_id in (self._record.submitted | self._record.turns.keys()) - self._rows.keys() - self.gone:
            yield f"{task_id} was acknowledged and is lost"
        for task_id, turns in self._record.turns.items():
            if task_id in self._rows and self._rows[task_id].turns < turns:
                yield f"{task_id}: turn {turns} was acknowledged, {self._rows[task_id].turns} are left"
        for task_id, text in self._record.joined.items():
            row = self._rows.get(task_id)
            if row is not None and (row.result is None or row.result.text != text):
                yield f"{task_id}: its result {text!r} was acknowledged and is {row.result}"

    def _turns(self, task_id: str) -> Iterator[str]:
        turns = self._rows[task_id].turns
        said = [text for text in self._texts[task_id] if text.startswith("turn ")]
        if [int(text.split()[1]) for text in said] != list(range(1, turns + 1)):
            yield f"{task_id}: {turns} turns, but it said {said}"
        state = self._snapshot.states.get(task_id)
        counted = msgspec.msgpack.decode(state.data)["turns"] if state else 0
        if counted != turns:
            yield f"{task_id}: {turns} turns, but its state says {counted}"
        for text in said:
            if text.endswith("denied"):
                yield f"{task_id}: {text}, though nobody denied it"

    def _messages(self) -> Iterator[str]:
        found: Counter[str] = Counter()
        for texts in self._texts.values():
            found.update(text for text in texts if text in self._record.sent)
        for entries in self._snapshot.inbox.values():
            found.update(entry.message.text for entry in entries.values() if entry.message)
        for text, acknowledged in self._record.sent.items():
            if text.split()[0] in self.gone:
                continue
            if found[text] > 1 or (acknowledged and not found[text]):
                yield f"message {text!r} (acknowledged: {acknowledged}) is there {found[text]} times"

    def _answers(self) -> Iterator[str]:
        for (task_id, key), status in self._record.answered.items():
            if task_id in self.gone or key.startswith("effect:"):
                continue
            held = {
                item.key: item.status.value for item in self._snapshot.approvals.get(task_id, {}).values()
            }
            if held.get(key) != status:
                yield f"{task_id}: {key} was {status}, now it is {held.get(key)}"
        for task_id, key in self._record.asked:
            items = self._snapshot.approvals.get(task_id, {}).values()
            if task_id not in self.gone and key not in [item.key for item in items]:
                yield f"{task_id}: {key} was asked, and the question is lost"
        for task_id, items in self._snapshot.approvals.items():
            twice = [key for key, count in Counter(item.key for item in items.values()).items() if count > 1]
            if twice:
                yield f"{task_id}: asked twice: {twice}"

    def _filings(self) -> Iterator[str]:
        answered = Counter(self._tool_answers())
        for pair, count in self._record.filings.items():
            if count > 1:
                yield f"{pair[0]}: turn {pair[1]} filed {count} times"
            if pair[0] not in self.gone and not self._accounted(pair, answered):
                yield f"{pair[0]}: turn {pair[1]} filed, but the ledger does not know"
        for pair, count in answered.items():
            if count > 1:
                yield f"{pair[0]}: the call of turn {pair[1]} was answered {count} times"
            if self._record.filings[pair] != 1:
                yield f"{pair[0]}: the call of turn {pair[1]} was answered, but it was not filed"
        for task_id, texts in self._texts.items():
            for text in texts:
                if " filed" in text and self._record.filings[task_id, int(text.split()[1])] != 1:
                    yield f"{task_id}: {text!r}, but it was not"

    def _tool_answers(self) -> Iterator[Filing]:
        for task_id, context in self._snapshot.contexts.items():
            for message in context.history_messages:
                if message.role.value == "tool":
                    yield task_id, int(message.content[0].call_id.removeprefix("call-"))

    def _accounted(self, pair: Filing, answered: Counter[Filing]) -> bool:
        """Whether a filing was made by a turn, or by a call, that is there or has its intent there."""
        task_id, number = pair
        made_by_turn = f"turn {number} filed" in self._texts.get(task_id, ())
        made_again = f"turn {number} filed before" in self._texts.get(task_id, ())
        return made_by_turn or made_again or pair in answered or task_id in self._snapshot.effects
