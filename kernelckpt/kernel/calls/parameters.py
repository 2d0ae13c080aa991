"""What a tool may be called with: a JSON schema for models, and a check of what they send."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as shape

from kernelckpt.codec.value import built
from kernelckpt.errors import InvalidValueError
from kernelckpt.model.misfit import text_without_value

KEY_PARAMETER = "idempotency_key"
"""A function with a parameter of this name is given the key under which its call is known to the ledger."""

_P = inspect.Parameter
_NAMED = frozenset({_P.POSITIONAL_ONLY, _P.POSITIONAL_OR_KEYWORD, _P.KEYWORD_ONLY})
_SCALARS = (bool, int, float, str, type(None))


def signature_of(fn: Callable[..., Any]) -> inspect.Signature | None:
    """How a function may be called; None if nobody can tell."""
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


class Parameters:
    """The parameters of a tool that callers give, by name."""

    def __init__(self, fn: Callable[..., Any], name: str) -> None:
        """Parameters whose types cannot be told may be anything."""
        signature = signature_of(fn)
        self._name = name
        self._all = {} if signature is None else dict(signature.parameters)
        self._all.pop(KEY_PARAMETER, None)
        kinds = {parameter.kind for parameter in self._all.values()}
        self._is_open = signature is None or _P.VAR_KEYWORD in kinds
        self._struct = msgspec.defstruct(
            "arguments",
            list(_fields(self._all, _hints(fn))),
            kw_only=True,
            forbid_unknown_fields=not self._is_open,
        )

    def schema(self) -> dict[str, Any]:
        """The JSON schema of an object with the arguments."""
        _, found = msgspec.json.schema_components([self._struct], schema_hook=_foreign_schema)
        definitions: dict[str, Any] = {}
        made = {name: _hoisted(part, definitions) for name, part in found.items()}
        schema: dict[str, Any] = {**made.pop("arguments"), "additionalProperties": self._is_open}
        del schema["title"]
        return {**schema, "$defs": definitions | made} if definitions or made else schema

    def bound(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and named arguments of a call, each of its declared type.

        Args:
            arguments: plain data by name, as a model sends it.

        Raises:
            InvalidValueError: they do not fit the parameters.
        """
        path = f"arguments of {self._name}"
        try:
            made = msgspec.convert(arguments, self._struct, dec_hook=built)
        except (msgspec.ValidationError, RecursionError) as error:
            cause = error.__cause__
            text = str(error) if not isinstance(cause, Exception) else text_without_value(cause)
            message = f"{path}: {text}"
            raise InvalidValueError(message, path=path, hint="see the tool's schema") from None
        values = {name: getattr(made, name, value) for name, value in arguments.items()}
        positional = [name for name, item in self._all.items() if item.kind is _P.POSITIONAL_ONLY]
        return tuple(values.pop(name) for name in positional if name in values), values


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(fn, include_extras=True)
    except (NameError, TypeError, AttributeError):  # an annotation that only a type checker can read
        return {}


def _fields(parameters: Mapping[str, inspect.Parameter], hints: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name, parameter in parameters.items():
        if parameter.kind not in _NAMED:
            continue
        kind = _readable(hints.get(name, Any))
        if parameter.default is _P.empty:
            yield name, kind
        elif type(parameter.default) in _SCALARS:
            yield name, kind, parameter.default
        else:
            yield name, kind, msgspec.field(default_factory=partial(copy, parameter.default))


def _readable(hint: Any) -> Any:
    """A type that plain data can be read as; anything for one that no model could send."""
    try:
        msgspec.json.schema(hint, schema_hook=_foreign_schema)
        shape.type_info(hint)
    except (TypeError, NotImplementedError, NameError, AttributeError):
        return Any
    return hint


def _foreign_schema(kind: type) -> dict[str, Any]:
    """The schema of a pydantic model."""
    if kind is object:
        return {}
    schema = getattr(kind, "model_json_schema", None)
    if schema is None:
        raise NotImplementedError
    made: dict[str, Any] = schema()
    return made


def _hoisted(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema whose inner definitions are put with those of the whole, where references look for them."""
    if isinstance(schema, list):
        return [_hoisted(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    for name, inner in schema.get("$defs", {}).items():
        definitions[name] = _hoisted(inner, definitions)
    return {key: _hoisted(item, definitions) for key, item in schema.items() if key != "$defs"}
