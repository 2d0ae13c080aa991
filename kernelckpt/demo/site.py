"""Where the agents work: what they reach through `turn.deps`, and where a kill may be aimed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_process
from msgspec import Struct

from kernelckpt import Tool, tool
from kernelckpt.demo.counter import request
from kernelckpt.demo.message import Aimed, Begun, Config, Filing, Moment, Report, line_of
from kernelckpt.demo.module import ModuleFacts, examine, full_path


def tell_parent(report: Report) -> None:
    """Say something to the parent at once: a kill right afterwards does not unsay it."""
    line = line_of(report)
    while line:
        line = line[os.write(1, line) :]


class Site(Struct, frozen=True):
    """The outside as the agents see it.

    Attributes:
        config: what the process was started with.
        turns: says how many turns are committed.
        tell: where reports go.
    """

    config: Config
    turns: Callable[[], int]
    tell: Callable[[Report], None] = tell_parent

    def begin(self, task: str, turn: int) -> None:
        """Say that a turn begins."""
        self.tell(Begun(task, turn))

    async def examine(self, module: bytes) -> ModuleFacts:
        """What is in a module; parsed in a worker process."""
        return await anyio.to_process.run_sync(examine, full_path(self.config.tree.root, module))

    def is_aimed(self, moment: Moment) -> bool:
        """Whether a kill is meant for this moment."""
        return any(aim.moment is moment and self.turns() >= aim.turns for aim in self.config.aims)

    def pass_by(self, moment: Moment) -> None:
        """Tell the parent if a kill is meant for now, and go on until it comes."""
        if self.is_aimed(moment):
            self.tell(Aimed(moment, self.turns()))

    async def reach(self, moment: Moment) -> None:
        """If a kill is meant for now, tell the parent and stay here until it comes; others go on."""
        if self.is_aimed(moment):
            self.tell(Aimed(moment, self.turns()))
            await anyio.sleep_forever()

    def tools(self) -> Mapping[str, Tool]:
        """The agents' tools by name."""

        @tool
        async def file_finding(finding: str) -> int:
            """File a finding with the counting process; filed twice, it is there twice."""
            await self.reach(Moment.CALL_NOT_MADE)
            answer = await request(self.config.port, Filing(self.config.book, finding))
            await self.reach(Moment.CALL_MADE)
            return answer[finding]

        @tool(effect="idempotent")
        def publish(name: str, text: str) -> int:
            """Write a report in the place of an older one."""
            place = os.path.join(self.config.folder, name)  # noqa: PTH118
            with open(place + ".new", "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(text)
            os.replace(place + ".new", place)  # noqa: PTH105
            return len(text)

        made: list[Any] = [file_finding, publish]
        return {item.name: item for item in made}
