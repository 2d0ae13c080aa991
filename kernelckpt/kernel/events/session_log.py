"""Session events as JSON data: what is written, and read back strictly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.model.context_snapshot import write_message
from kernelckpt.model.event import SessionEvent
from kernelckpt.model.json_form import convert_form, from_json_form, place_of, to_json_form

_TYPES = get_args(SessionEvent)
KINDS = frozenset(str(event.__struct_config__.tag) for event in _TYPES)
"""The kinds of events that a session log holds."""


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """What a session log says.

    Attributes:
        events: the events, oldest first.
        unknown: how many events of each unknown kind were skipped.
        positions: the place of each event in the log, from 0; skipped ones leave gaps.
    """

    events: tuple[SessionEvent, ...]
    unknown: dict[str, int]
    positions: tuple[int, ...]


def read_events(forms: Sequence[Any], *, unknown: Literal["fail", "skip"] = "fail") -> ReadEvents:
    """The events that JSON data describes; they share nothing with it.

    Args:
        forms: one object for each event, as `write_events` gives them, or from a log of the original.
        unknown: whether an event of an unknown kind is an error, or skipped and counted.

    Raises:
        DecodeError: a kind is unknown, a field is missing, unknown, of the wrong type or out of range; the
            path is like `events[3].kind`.
        InvalidValueError: `unknown` is neither of the two.
    """
    if unknown not in {"fail", "skip"}:
        hint = 'give "fail" or "skip"'
        raise InvalidValueError(f"unknown: {unknown!r} is no such choice", path="unknown", hint=hint)
    events: list[SessionEvent] = []
    positions: list[int] = []
    skipped: dict[str, int] = {}
    for position, form in enumerate(_plain(forms)):
        path = f"events[{position}]"
        kind = _kind_of(form, path)
        if kind in KINDS:
            events.append(_event_of(form, kind, path))
            positions.append(position)
        elif unknown == "skip":
            skipped[kind] = skipped.get(kind, 0) + 1
        else:
            raise _unknown_kind(kind, place_of(path, "kind"))
    return ReadEvents(tuple(events), skipped, tuple(positions))


def write_events(events: Iterable[SessionEvent]) -> list[dict[str, Any]]:
    """The events as JSON data, each with everything that the original always writes.

    Values that are not there and empty lists are left out where the original leaves them out. Bytes in plain
    data, which the original has not, become `{"$bytes": base64}`.

    Raises:
        InvalidValueError: an event holds something that JSON cannot, or is none of a session; the path
            names it.
    """
    forms = [_form_of(event, f"events[{position}]") for position, event in enumerate(events)]
    try:
        whole: list[dict[str, Any]] = to_json_form(forms)
    except InvalidValueError as error:
        raise _invalid(f"events{error.message}", f"events{error.path}") from error
    return whole


def _plain(forms: Sequence[Any]) -> list[Any]:
    if not isinstance(forms, list | tuple):
        raise _undecodable("events: not a list", "events")
    try:
        plain: list[Any] = from_json_form(forms)
    except DecodeError as error:
        raise _undecodable(f"events{error.message}", f"events{error.path}") from error
    return plain


def _kind_of(form: Any, path: str) -> str:
    if not isinstance(form, dict):
        raise _undecodable(f"{path}: not an object", path)
    place = place_of(path, "kind")
    if "kind" not in form:
        raise _undecodable(f"{place}: missing required field `kind`", place)
    if not isinstance(form["kind"], str):
        raise _undecodable(f"{place}: a {type(form['kind']).__name__}, not text", place)
    return form["kind"]


def _event_of(form: dict[str, Any], kind: str, path: str) -> SessionEvent:
    try:
        event: SessionEvent = convert_form(form, SessionEvent, path)  # type: ignore[arg-type]
    except DecodeError as error:
        raise _undecodable(error.message, error.path) from error
    for place, names, part in _written_parts(form, kind, path):
        for name in names:
            if name not in part:
                missing = place_of(place, name)
                raise _undecodable(f"{missing}: missing required field `{name}`", missing)
    return event


_Part = tuple[str, tuple[str, ...], dict[str, Any]]


def _written_parts(form: dict[str, Any], kind: str, path: str) -> list[_Part]:
    """What a log always says in full though a program need not: places, the fields, and what has them."""
    if kind == "llm_completed":
        message, place = form["message"], place_of(path, "message")
        content = _result_parts(message.get("content"), place_of(place, "content"))
        calls = _calls(message.get("tool_calls", ()), place_of(place, "tool_calls"))
        return [(place, ("content",), message), *content, *calls]
    if kind == "tool_requested":
        return _calls(form["calls"], place_of(path, "calls"))
    if kind == "tool_completed":
        place = place_of(path, "results")
        return [
            part
            for index, result in enumerate(form["results"])
            for part in _result_parts(result["output"], f"{place}[{index}].output")
        ]
    return []


def _calls(calls: Sequence[dict[str, Any]], path: str) -> list[_Part]:
    return [(f"{path}[{index}]", ("arguments",), call) for index, call in enumerate(calls)]


def _result_parts(content: Any, path: str) -> list[_Part]:
    parts = content if isinstance(content, list) else ()
    return [
        (f"{path}[{index}]", ("is_error",), part)
        for index, part in enumerate(parts)
        if part["type"] == "tool_result"
    ]


def _form_of(event: SessionEvent, path: str) -> dict[str, Any]:
    if not isinstance(event, _TYPES):
        hint = "leave out what the kernel notes for itself alone"
        text = f"{path}: {type(event).__name__} is no session event"
        raise InvalidValueError(text, path=path, hint=hint)
    try:
        form: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes,))
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(f"{path}: {error}", path) from error
    if form["kind"] == "llm_completed":
        form["message"] = write_message(form["message"])
    elif form["kind"] == "tool_requested":
        form["calls"] = write_message({"role": "assistant", "tool_calls": form["calls"]})["tool_calls"]
    elif form["kind"] == "tool_completed":
        for result in form["results"]:
            result["output"] = write_message({"role": "tool", "content": result["output"]})["content"]
    return form


def _unknown_kind(kind: str, path: str) -> DecodeError:
    hint = 'read the log with the version that wrote it, or skip unknown kinds with unknown="skip"'
    return DecodeError(f"{path}: {kind!r} is no kind of session event", path=path, hint=hint)


def _undecodable(text: str, path: str) -> DecodeError:
    hint = "the log was damaged, or written by something else; mend that event, or leave it out"
    return DecodeError(text, path=path, hint=hint)


def _invalid(text: str, path: str) -> InvalidValueError:
    return InvalidValueError(text, path=path, hint="keep plain data in arguments and replay data")
