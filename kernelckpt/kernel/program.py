"""Programs: the user's functions that run one turn of one task, with the types they keep."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import RestoreError, UnknownProgramError, UsageError

if TYPE_CHECKING:
    from kernelckpt.kernel.ending import Next
    from kernelckpt.kernel.turn import Turn

ProgramFunction: TypeAlias = "Callable[[Turn], Awaitable[Next | None]]"
Upgrade: TypeAlias = Callable[[Any, int], Any]


class Program:
    """A turn function with the types of its state, input and output."""

    def __init__(
        self,
        fn: ProgramFunction,
        *,
        state: Any = None,
        input: Any = None,  # noqa: A002 - the name users write
        output: Any = None,
        version: int = 1,
        upgrade: Upgrade | None = None,
    ) -> None:
        """Describe a program.

        Args:
            fn: `async def program(turn)`; runs one turn.
            state: type of its state (msgspec struct, dataclass, pydantic model); None for plain data.
            input: type of its input, likewise.
            output: type of what it completes with, likewise.
            version: raise it when the meaning of the state changes.
            upgrade: `upgrade(old, version)` gives this version's state from an older one's plain data.

        Raises:
            UsageError: `fn` is not an async function.
        """
        if not inspect.iscoroutinefunction(fn) and not inspect.iscoroutinefunction(type(fn).__call__):
            raise UsageError(f"{fn!r} is not an async function", hint="write `async def program(turn): ...`")
        self.fn = fn
        self.state = ValueCodec(state)
        self.input = ValueCodec(input)
        self.output = ValueCodec(output)
        self.version = version
        self.upgrade = upgrade

    def upgraded(self, data: bytes, version: int, path: str) -> bytes:
        """The state's bytes in this program's version.

        Raises:
            RestoreError: they are newer, or there is no `upgrade`.
        """
        if version == self.version:
            self.state.decode(data, path)
            return data
        if version > self.version or self.upgrade is None:
            message = f"{path}: written by version {version} of the program, this is version {self.version}"
            hint = "give Program an `upgrade`" if version < self.version else "run the newer program"
            raise RestoreError(message, missing=[f"upgrade from version {version}"], hint=hint)
        return self.state.encode(self.upgrade(ValueCodec().decode(data, path), version), path)

    def output_of(self, plain: Any) -> Any:
        """An output as kept (plain data), as the program's type."""
        return self.output.decode(ValueCodec().encode(plain, "output"), "output")


class Programs:
    """The programs of a scheduler, by name."""

    def __init__(self, programs: Mapping[str, Program | ProgramFunction]) -> None:
        """Bare functions become programs of plain data."""
        self._programs = {
            name: program if isinstance(program, Program) else Program(program)
            for name, program in programs.items()
        }

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __getitem__(self, name: str) -> Program:
        try:
            return self._programs[name]
        except KeyError:
            known = ", ".join(sorted(self._programs)) or "none"
            message = f"no program {name!r} in this scheduler"
            raise UnknownProgramError(message, hint=f"known programs: {known}") from None
