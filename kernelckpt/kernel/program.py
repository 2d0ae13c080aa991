"""Programs: the user's functions that run one turn of one task, with the types they keep."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import RestoreError, UnknownProgramError, UsageError
from kernelckpt.kernel.argument import check_name
from kernelckpt.kernel.calls.retry import ONCE, Retry
from kernelckpt.kernel.error_text import error_text

if TYPE_CHECKING:
    from kernelckpt.kernel.turn.ending import Next
    from kernelckpt.kernel.turn.turn import Turn

ProgramFunction: TypeAlias = "Callable[[Turn], Awaitable[Next | None]]"
Upgrade: TypeAlias = Callable[[Any, int], Any]


class Program:
    """A turn function with the types of its state, input and output.

    Attributes:
        keeps_calls: whether the ledger keeps the calls of its turns until its task has ended.
    """

    keeps_calls = False

    def __init__(
        self,
        fn: ProgramFunction,
        *,
        state: Any = None,
        input: Any = None,  # noqa: A002 - the name users write
        output: Any = None,
        version: int = 1,
        upgrade: Upgrade | None = None,
        retry: Retry = ONCE,
    ) -> None:
        """Describe a program.

        Args:
            fn: `async def program(turn)`; runs one turn.
            state: type of its state (msgspec struct, dataclass, pydantic model); None for plain data.
            input: type of its input, likewise.
            output: type of what it completes with, likewise.
            version: raise it when the meaning of the state changes.
            upgrade: `upgrade(old, version)` gives this version's state from an older one's plain data.
            retry: how often a turn that raises is run in all, and how long is waited before it is run again;
                by default the task ends with the error at once.

        Raises:
            UsageError: `fn` is not an async function, the version no version, or the retry no `Retry`.
        """
        if not inspect.iscoroutinefunction(fn) and not inspect.iscoroutinefunction(type(fn).__call__):
            message = f"a program that is a {type(fn).__name__} and not an async function"
            raise UsageError(message, hint="write `async def program(turn): ...`")
        if type(version) is not int or not 0 < version < 2**32:
            raise UsageError(f"the version {version!r}", hint="a whole number, 1 or more")
        if not isinstance(retry, Retry):
            raise UsageError(f"retry is a {type(retry).__name__}", hint="pass a Retry")
        self.fn = fn
        self.state = ValueCodec(state)
        self.input = ValueCodec(input)
        self.output = ValueCodec(output)
        self.version = version
        self.upgrade = upgrade
        self.retry = retry

    def upgraded(self, data: bytes, version: int, path: str) -> bytes:
        """The state's bytes in this program's version.

        Raises:
            RestoreError: they are newer, or there is no `upgrade`, or it raised.
            InvalidValueError: it gave something that is not a state.
        """
        if version == self.version:
            self.state.decode(data, path)
            return data
        if version > self.version or self.upgrade is None:
            message = f"{path}: written by version {version} of the program, this is version {self.version}"
            hint = "give Program an `upgrade`" if version < self.version else "run the newer program"
            raise RestoreError(message, missing=[f"upgrade from version {version}"], hint=hint)
        old = ValueCodec().decode(data, path)
        try:
            new = self.upgrade(old, version)
        except Exception as error:
            message = f"{path}: its upgrade from version {version} raised {error_text(error)}"
            raise RestoreError(
                message, missing=[f"upgrade from version {version}"], hint="mend it"
            ) from error
        return self.state.encode(new, path)

    def output_of(self, plain: Any) -> Any:
        """An output as kept (plain data), as the program's type."""
        return self.output.decode(msgspec.msgpack.encode(plain), "output")


class Programs:
    """The programs of a scheduler, by name."""

    def __init__(self, programs: Mapping[str, Program | ProgramFunction]) -> None:
        """Bare functions become programs of plain data.

        Raises:
            UsageError: they are no mapping, or a name is no name.
        """
        if not isinstance(programs, Mapping):
            hint = "pass {name: async function or Program}"
            raise UsageError(f"programs: a {type(programs).__name__}", hint=hint)
        for name in programs:
            check_name(name, "program name")
        self._programs = {
            name: program if isinstance(program, Program) else Program(program)
            for name, program in programs.items()
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __getitem__(self, name: str) -> Program:
        try:
            return self._programs[name]
        except (KeyError, TypeError):
            known = ", ".join(sorted(self._programs)) or "none"
            message = f"no program {name!r} in this scheduler"
            raise UnknownProgramError(message, hint=f"known programs: {known}") from None
