"""Tools: functions an agent may call through the effect ledger."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints, overload

import anyio.to_thread
import msgspec

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import UnknownToolError, UsageError
from kernelckpt.kernel.argument import listed
from kernelckpt.model.effect import EffectPolicy

_F = TypeVar("_F", bound=Callable[..., Any])


class Tool:
    """A function with its name and what may be done when a call of it is in doubt."""

    def __init__(self, fn: Callable[..., Any], *, name: str, effect: EffectPolicy) -> None:
        """See `tool`."""
        self.fn = fn
        self.name = name
        self.effect = effect
        self.returns = ValueCodec(_return_type(fn))
        self.description = inspect.getdoc(fn) or ""
        self._is_async = inspect.iscoroutinefunction(inspect.unwrap(fn))

    async def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function; one that is not async runs in a thread, which is left alone on cancellation."""
        if self._is_async:
            return await self.fn(*args, **kwargs)
        value = await anyio.to_thread.run_sync(lambda: self.fn(*args, **kwargs), abandon_on_cancel=True)
        return await value if isinstance(value, Awaitable) else value

    def named(self, encoded: bytes) -> dict[str, Any]:
        """The arguments of a call by the names of the function's parameters, as plain data.

        Args:
            encoded: [positional, named] in msgpack.
        """
        positional, named = msgspec.msgpack.decode(encoded)
        try:
            signature = inspect.signature(self.fn)
            found = dict(signature.bind(*positional, **named).arguments)
        except (TypeError, ValueError):  # it has no signature, or the call will fail anyhow
            return {"args": positional, **named}
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:  # as an assistant would give them
                extra = found.pop(name, {})
                hides = extra.keys() & found.keys()  # a name of theirs may be that of a positional one
                found.update({name: extra} if hides else extra)
        return found


@overload
def tool(fn: _F) -> Tool: ...


@overload
def tool(*, effect: str = ..., name: str | None = ...) -> Callable[[_F], Tool]: ...


def tool(
    fn: Callable[..., Any] | None = None, *, effect: str = "ask", name: str | None = None
) -> Tool | Callable[[Any], Tool]:
    """Make a function a tool.

    Args:
        fn: the function, sync or async.
        effect: what may be done when the process died in a call: "idempotent" (call it again) or "ask"
            (suspend the task until somebody decides).
        name: the name the model calls it by; the function's own by default.

    Raises:
        UsageError: no such `effect`.
    """
    if effect not in set(EffectPolicy):
        known = ", ".join(policy.value for policy in EffectPolicy)
        raise UsageError(f"no effect policy {effect!r}", hint=f"use one of: {known}")

    def wrap(function: Callable[..., Any]) -> Tool:
        return Tool(function, name=name or effect_name(function), effect=EffectPolicy(effect))

    return wrap if fn is None else wrap(fn)


class Tools:
    """The tools of a scheduler, by name."""

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]]) -> None:
        """Bare functions become tools whose calls are decided by a human when in doubt."""
        made = [item if isinstance(item, Tool) else tool(item) for item in listed(tools, "tools")]
        self._tools = {item.name: item for item in made}
        if len(self._tools) != len(made):
            raise UsageError("two tools have the same name", hint="give one of them `@tool(name=...)`")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def find(self, name: str | Tool) -> Tool:
        """The tool of a name; a tool object must be one of those registered.

        Raises:
            UnknownToolError: there is none.
        """
        wanted = name.name if isinstance(name, Tool) else name
        found = self._tools.get(wanted)
        if found is None:
            known = ", ".join(sorted(self._tools)) or "none"
            message = f"no tool {wanted!r} in this scheduler"
            raise UnknownToolError(
                message, hint=f"known tools: {known}; register it with Scheduler(tools=[...])"
            )
        return found


def as_tool(fn: Callable[..., Any] | Tool) -> Tool:
    """The tool that stands for a function called as an effect.

    Raises:
        UsageError: it cannot be called, or has no name.
    """
    if isinstance(fn, Tool):
        return fn
    if not callable(fn):
        message = f"a {type(fn).__name__} cannot be called"
        raise UsageError(message, hint="pass a function; `turn.call` takes a tool's name")
    try:
        return _plain_tool(fn)
    except TypeError:  # an unhashable callable cannot be remembered
        return tool(fn)


@lru_cache(maxsize=1024)
def _plain_tool(fn: Callable[..., Any]) -> Tool:
    return tool(fn)


def effect_name(fn: Callable[..., Any]) -> str:
    """The name a function is recorded under.

    Raises:
        UsageError: it has none, as a partial object has.
    """
    name = getattr(fn, "__qualname__", "")
    if not name:
        hint = "wrap it: `tool(name=...)(fn)`"
        raise UsageError(f"a {type(fn).__name__} has no name to be recorded under", hint=hint)
    return str(name).rpartition("<locals>.")[2]


def _return_type(fn: Callable[..., Any]) -> Any:
    try:
        hint = get_type_hints(fn).get("return")
    except (NameError, TypeError, AttributeError):  # an annotation that only a type checker can read
        return None
    typed = isinstance(hint, type) and (
        hasattr(hint, "model_validate")
        or hasattr(hint, "__dataclass_fields__")
        or issubclass(hint, msgspec.Struct)
    )
    return hint if typed else None
