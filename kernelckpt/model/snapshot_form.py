"""A snapshot as JSON data: the original's spelling, and each field written and read as its type says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from kernelckpt.errors import InvalidValueError
from kernelckpt.model.context_snapshot import ContextSnapshot, read_context, write_context, write_message
from kernelckpt.model.json_form import convert_form, from_json_form, parse_json, to_json_form, undecodable
from kernelckpt.model.row_snapshot import read_row, write_row
from kernelckpt.model.scalar import U64

_T = TypeVar("_T", bound=msgspec.Struct)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def write_snapshot(snapshot: msgspec.Struct) -> dict[str, Any]:
    """A snapshot's JSON data.

    Raises:
        InvalidValueError: it holds something that JSON cannot; the path names it.
    """
    try:
        form = msgspec.to_builtins(snapshot, builtin_types=(bytes,))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"snapshot: {error}", hint="keep plain data in results") from error
    for row in form["tasks"]:
        write_row(row)
        _write_final_message(row["proc"])
    for context in (form["context"], *form.get("contexts", {}).values()):
        write_context(context)
    for name, type_ in _keyed_fields(type(snapshot)).items():
        if name in form:
            form[name] = _written(form[name], type_)
    whole: dict[str, Any] = to_json_form(form)
    return whole


def read_snapshot(data: Mapping[str, Any], type_: type[_T]) -> _T:
    """The snapshot that JSON data describes.

    Raises:
        DecodeError: it does not describe one; the path names the place.
    """
    form = from_json_form(data)
    if not isinstance(form, dict):
        raise undecodable("not an object", "")
    _each(form.get("tasks"), read_row)
    if "context" in form:
        form["context"] = _read(form["context"], ContextSnapshot, "context")
    form["run_spec"] = _spec_form(form.get("run_spec"))
    for name, field_type in _keyed_fields(type_).items():
        if name in form:
            form[name] = _read(form[name], field_type, name)
    return convert_form(form, type_)


@cache
def _keyed_fields(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that are kept by task or by number, and their types."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
    return {name: field_type for name, field_type in fields.items() if get_origin(field_type) is dict}


def _written(form: Any, type_: Any) -> Any:
    """JSON has no numbers as keys, only text; plain data is left as it is."""
    if get_origin(type_) is not dict:
        return form
    of_key, of_item = get_args(type_)
    return {key if of_key is str else str(key): _written(item, of_item) for key, item in form.items()}


def _read(form: Any, type_: Any, path: str) -> Any:
    """Read one by one, since only so an error can name the task and the number."""
    if get_origin(type_) is dict and isinstance(form, dict):
        of_key, of_item = get_args(type_)
        if of_key is str:
            return {key: _read(item, of_item, f'{path}["{key}"]') for key, item in form.items()}
        numbers = {key: _number(key, path) for key in form}
        return {number: _read(form[key], of_item, f"{path}[{number}]") for key, number in numbers.items()}
    if type_ is not ContextSnapshot:
        return convert_form(form, type_, path)
    read_context(form, path)
    context = convert_form(form, ContextSnapshot, path)
    context.whole_plan(path)
    return context


def _number(key: str, path: str) -> int:
    if not _NUMBER.fullmatch(key):
        raise undecodable("a key is no number", path)
    number: int = convert_form(int(key), U64, path)
    return number


def _each(forms: Any, read: Callable[[Any, str], None]) -> None:
    if isinstance(forms, list):
        for index, form in enumerate(forms):
            read(form, f"tasks[{index}]")


def _write_final_message(proc: dict[str, Any] | None) -> None:
    result = proc["result"] if proc else None
    if result and "final_message" in result:
        result["final_message"] = write_message(result["final_message"])


def _spec_form(form: Any) -> Any:
    """The original writes the specification as JSON text within the JSON."""
    return from_json_form(parse_json(form, "run_spec")) if isinstance(form, str) else form
