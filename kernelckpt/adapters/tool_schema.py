"""What models are told of tools, whoever describes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from kernelckpt.adapters.json_value import json_copy
from kernelckpt.adapters.refuse import check_name, unsayable
from kernelckpt.model.capability import ToolSchema

ANYTHING = {"type": "object", "properties": {}}
"""The schema of a tool that takes no arguments."""


class DescribedTool(Protocol):
    """A tool that knows the JSON schema of its arguments."""

    @property
    def name(self) -> str:
        """What models call it by."""

    @property
    def description(self) -> str:
        """What it does."""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""


def schemas_of(tools: Iterable[ToolSchema | DescribedTool], *, longest_name: int) -> Iterator[ToolSchema]:
    """The schemas of tools, each with parameters of its own.

    Raises:
        InvalidValueError: a name that is none, or two that are the same, or parameters that are no schema.
    """
    seen = set()
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        check_name(tool.name, f"{path}.name", longest_name)
        if tool.name in seen:
            raise unsayable(f"{path}.name", f"two tools are called {tool.name!r}", "`@tool(name=...)`")
        seen.add(tool.name)
        given = tool.parameters if isinstance(tool, ToolSchema) else getattr(tool, "schema", None)
        if not isinstance(given, dict):
            raise unsayable(f"{path}.parameters", "no JSON schema of an object", 'as {"type": "object", ...}')
        yield ToolSchema(tool.name, tool.description, json_copy(given, f"{path}.parameters"))
