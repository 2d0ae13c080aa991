"""Tools: functions an agent may call through the effect ledger."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Any, Self, TypeVar, overload

import anyio.to_thread
import msgspec

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import UnknownToolError, UsageError
from kernelckpt.kernel.argument import check_name, listed, milliseconds
from kernelckpt.kernel.calls.parameters import KEY_PARAMETER, Parameters, signature_of
from kernelckpt.kernel.calls.retry import ONCE, Retry
from kernelckpt.kernel.calls.returned import declared_by, returned_by
from kernelckpt.model.charge import Charge
from kernelckpt.model.effect import EffectPolicy

_F = TypeVar("_F", bound=Callable[..., Any])


class NotDone:
    """What a probe returns when the other side knows nothing of the call."""


class Tool:
    """A function with its name, and how calls of it are made.

    Attributes:
        fn: the function.
        name: what models and the ledger know it by.
        description: its docstring.
        effect: what may be done when a call of it is in doubt.
        probe: asks the other side what became of a call.
        key: what a call of it is known by to the ledger; "" for its arguments.
        timeout: seconds after which a call is given up; None for never.
        retry: how it is tried again.
        charge: what a call has cost, by what it returned; None for nothing.
    """

    def __init__(self, fn: Callable[..., Any], *, name: str) -> None:
        """See `tool`."""
        self.fn = fn
        self.name = name
        self.effect = EffectPolicy.ASK
        self.probe: Tool | None = None
        self.key = ""
        self.timeout: float | None = None
        self.retry = ONCE
        self.charge: Callable[[Any], Charge] | None = None
        self.description = inspect.getdoc(fn) or ""
        self._is_async = inspect.iscoroutinefunction(inspect.unwrap(fn))
        signature = signature_of(fn)
        self.takes_key = signature is not None and KEY_PARAMETER in signature.parameters

    def options(
        self,
        *,
        key: str | None = None,
        policy: str | None = None,
        probe: Callable[..., Any] | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        charge: Callable[[Any], Charge] | None = None,
    ) -> Self:
        """The same tool, called in another way; what is not given stays.

        Args:
            key: what one call is known by, in its turn: a rerun that uses it again gets that call's outcome,
                whatever the arguments. Also what the function is given as `idempotency_key`.
            policy: what may be done when a call is in doubt: "idempotent", "ask", "probe" or "fail".
            probe: asks the other side what became of a call, for policy "probe", which it implies.
            timeout: seconds after which a call is given up. Unless it is idempotent it is in doubt then.
            retry: how a call is tried again that has raised; only if it is idempotent or can be probed.
            charge: what a call has cost, by what it returned.

        Raises:
            UsageError: these do not go together.
            InvalidValueError: a value that is none.
        """
        made = copy.copy(self)
        if key is not None:
            check_name(key, "key")
            made.key = key
        if probe is not None:
            made.probe = Tool(probe, name=f"the probe of {self.name}")
        if policy is not None or probe is not None:
            made.effect = _policy(policy or EffectPolicy.PROBE.value)
        if timeout is not None:
            milliseconds(timeout, "timeout")
            made.timeout = timeout
        if retry is not None:
            made.retry = retry
        if charge is not None:
            made.charge = charge
        if probe is not None and made.effect is not EffectPolicy.PROBE:
            raise UsageError(f"{self.name} is {made.effect.value} and has a probe", hint='use "probe"')
        made.check()
        return made

    def check(self) -> None:
        """Raise `UsageError` if what was chosen does not go together."""
        if self.effect is EffectPolicy.PROBE and self.probe is None:
            raise UsageError(f"{self.name} has no probe", hint="give a function: `probe=...`")
        if not isinstance(self.retry, Retry):
            raise UsageError(f"retry is a {type(self.retry).__name__}", hint="pass a Retry")
        if self.retry.attempts > 1 and self.effect not in {EffectPolicy.IDEMPOTENT, EffectPolicy.PROBE}:
            message = f"{self.name} is tried again, but nobody knows whether that repeats it"
            raise UsageError(message, hint='declare it "idempotent", or give it a `probe`')

    @cached_property
    def returns(self) -> ValueCodec:
        """Encodes and decodes its values.

        Raises:
            InvalidValueError: it says that it returns what cannot be kept.
        """
        return returned_by(self.fn, self.name)

    @cached_property
    def declared(self) -> ValueCodec:
        """Checks what others say that it has returned: its values may be plain data that is not looked at."""
        return declared_by(self.fn)

    @cached_property
    def parameters(self) -> Parameters:
        """What it may be called with by name."""
        return Parameters(self.fn, self.name)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments, from the annotations, as model interfaces want it."""
        return self.parameters.schema()

    async def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], token: str = "") -> Any:
        """Call the function; one that is not async runs in a thread, which is left alone on cancellation."""
        if self.takes_key:
            kwargs = {**kwargs, KEY_PARAMETER: token}
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
            found = dict(signature.bind_partial(*positional, **named).arguments)
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
def tool(
    *,
    effect: str | None = ...,
    name: str | None = ...,
    probe: Callable[..., Any] | None = ...,
    timeout: float | None = ...,
    retry: Retry | None = ...,
    charge: Callable[[Any], Charge] | None = ...,
) -> Callable[[_F], Tool]: ...


def tool(
    fn: Callable[..., Any] | None = None,
    *,
    effect: str | None = None,
    name: str | None = None,
    probe: Callable[..., Any] | None = None,
    timeout: float | None = None,
    retry: Retry | None = None,
    charge: Callable[[Any], Charge] | None = None,
) -> Tool | Callable[[Any], Tool]:
    """Make a function a tool.

    One that has a parameter `idempotency_key` is given the key under which its call is known: the same
    whenever that call is repeated, another for any other call.

    Args:
        fn: the function, sync or async.
        effect: what may be done when nobody knows whether a call happened: "ask" (a human decides; the
            default), "idempotent" (call it again), "probe" (ask the other side), "fail" (raise).
        name: the name the model calls it by; the function's own by default.
        probe: called with the arguments of a call in doubt: returns the call's value if it happened, or
            `NotDone()`; if it raises, a human decides.
        timeout: seconds after which a call is given up.
        retry: how it is tried again.
        charge: what a call has cost, by what it returned. The task is charged in the commit that records the
            outcome: once, however often the turn is run. If this raises, the call counts as one that did.

    Raises:
        UsageError: no such `effect`, or these do not go together.
        InvalidValueError: the function says that it returns what cannot be kept.
    """
    if effect is not None:
        _policy(effect)

    def wrap(function: Callable[..., Any]) -> Tool:
        made = Tool(function, name=name or effect_name(function))
        assert made.returns is not None, "found out here, before any call"
        return made.options(policy=effect, probe=probe, timeout=timeout, retry=retry, charge=charge)

    return wrap if fn is None else wrap(fn)


def _policy(name: str) -> EffectPolicy:
    if name not in set(EffectPolicy):
        known = ", ".join(policy.value for policy in EffectPolicy)
        raise UsageError(f"no effect policy {name!r}", hint=f"use one of: {known}")
    return EffectPolicy(name)


class Tools:
    """The tools of a scheduler, by name."""

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]]) -> None:
        """Bare functions become tools whose calls are decided by a human when in doubt."""
        made = [item if isinstance(item, Tool) else tool(item) for item in listed(tools, "tools")]
        self._tools = {item.name: item for item in made}
        if len(self._tools) != len(made):
            raise UsageError("two tools have the same name", hint="give one of them `@tool(name=...)`")
        keyed = next((item for item in made if item.key), None)
        if keyed is not None:
            message = f"tool {keyed.name!r} has a key: all its calls would be one"
            raise UsageError(message, hint="give the key where it is called")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def find(self, name: str | Tool) -> Tool:
        """The tool of a name; a tool object must be one of those registered, its options may differ.

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
        return name if isinstance(name, Tool) and name.fn is found.fn else found


def as_tool(fn: Callable[..., Any] | Tool) -> Tool:
    """The tool that stands for a function called as an effect.

    Raises:
        UsageError: it cannot be called, or has no name.
        InvalidValueError: it says that it returns what cannot be kept.
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
