"""What is known to be secret, and how it is taken out of text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Never

from kernelckpt.errors import UsageError

SHORTEST: Final = 8
"""Characters of the shortest value that may be redacted: shorter ones would be hit by chance."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SAMPLES: Final = ("", "a", "a b")
"""Texts in which a pattern that takes nothing for a hit shows itself."""


class Redaction:
    """Secrets by name: values that are known, and patterns of what is not; frozen, its repr shows no secret.

    In text a hit gives way to `[redacted NAME]`. A value is found as it is, without white space around it,
    and as JSON and `repr` escape it. One that is split, encoded in another way, or derived is not found.
    """

    __slots__ = ("_markers", "_searches", "names")

    names: tuple[str, ...]
    _markers: re.Pattern[str]
    _searches: tuple[_Search, ...]

    def __init__(
        self, values: Mapping[str, str] | None = None, patterns: Mapping[str, str] | None = None
    ) -> None:
        r"""Name what is secret.

        Args:
            values: secrets by name, as `{"OPENAI_API_KEY": os.environ["OPENAI_API_KEY"]}`; 8 characters or
                more each.
            patterns: regular expressions by name, as `{"card": r"\b(?:\d[ -]?){13,16}\b"}`; with groups that
                do not capture only. They look at what no value has hit.

        Raises:
            UsageError: a name is no identifier or is given twice, a value is too short, a pattern is none,
                takes nothing for a hit, or hits what takes the place of a hit.
        """
        values, patterns = dict(values or {}), dict(patterns or {})
        for name in (*values, *patterns):
            _check_name(name, taken=name in values and name in patterns)
        forms = [(name, re.escape(form)) for name, value in values.items() for form in _forms(name, value)]
        forms.sort(key=lambda item: -len(item[1]))  # of two that begin alike, the longer one is meant
        sources = [(name, _source(name, pattern)) for name, pattern in patterns.items()]
        names = (*values, *patterns)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "_searches", tuple(_Search(found) for found in (forms, sources) if found))
        object.__setattr__(self, "_markers", re.compile(rf"(\[redacted (?:{'|'.join(names)})\])"))
        self._check_markers()

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError("a Redaction is frozen")

    def __repr__(self) -> str:
        return f"Redaction({', '.join(self.names)})"

    def __reduce__(self) -> Never:
        raise TypeError("a Redaction holds secrets and is not to be written anywhere")

    def text(self, text: str) -> str:
        """The text without secrets; the same object if it holds none. Once more changes nothing."""
        if self.name_in(text) is None:
            return text
        before, made = "", text
        while made != before:  # what is left beside a hit may be a hit of its own
            before = made
            for search in self._searches:
                pieces = self._markers.split(made)  # what stands for a hit is never part of another
                pieces[::2] = map(search.replaced, pieces[::2])
                made = "".join(pieces)
        return text if made == text else made

    def name_in(self, text: str) -> str | None:
        """The name of a secret that the text holds; None if it holds none."""
        found = (search.name_in(text) for search in self._searches)
        return next((name for name in found if name is not None), None)

    def _check_markers(self) -> None:
        for name in self.names:
            hit = self.name_in(marker(name))
            if hit is not None:
                raise UsageError(
                    f"{hit} hits the text that takes the place of a hit, [redacted ...]",
                    hint="choose another name, or a pattern that is more exact",
                )


def marker(name: str) -> str:
    """What takes the place of a secret."""
    return f"[redacted {name}]"


class _Search:
    """One expression that looks for several secrets at once."""

    __slots__ = ("_names", "_regex")

    def __init__(self, sources: Sequence[tuple[str, str]]) -> None:
        self._names = [name for name, _ in sources]
        self._regex = re.compile("|".join(f"({source})" for _, source in sources))

    def replaced(self, text: str) -> str:
        return self._regex.sub(lambda found: marker(self._name_of(found)) if found[0] else "", text)

    def name_in(self, text: str) -> str | None:
        return next((self._name_of(found) for found in self._regex.finditer(text) if found[0]), None)

    def _name_of(self, found: re.Match[str]) -> str:
        return self._names[(found.lastindex or 1) - 1]


def _check_name(name: Any, *, taken: bool) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "letters, digits and underscores, as in a variable's name"
        raise UsageError("a name of a secret is no identifier", hint=hint)
    if taken:
        raise UsageError(f"{name} names a value and a pattern", hint="give each its own name")


def _forms(name: str, value: Any) -> set[str]:
    """What a value looks like in text."""
    if not isinstance(value, str):
        raise UsageError(f"the value of {name} is a {type(value).__name__}", hint="pass text")
    bare = value.strip()
    if len(bare) < SHORTEST:
        message = f"the value of {name} has fewer than {SHORTEST} characters"
        raise UsageError(message, hint="so short a text turns up by chance; use a pattern that is exact")
    return {bare, json.dumps(bare)[1:-1], json.dumps(bare, ensure_ascii=False)[1:-1], repr(bare)[1:-1]}


def _source(name: str, pattern: Any) -> str:
    if not isinstance(pattern, str):
        raise UsageError(f"the pattern {name} is a {type(pattern).__name__}", hint="pass text")
    try:
        regex = re.compile(pattern)
        re.compile(f"({pattern})")  # beside others; flags for all of an expression stand at its beginning
    except re.error as error:
        hint = "flags of a part are written (?i:...)"
        raise UsageError(f"the pattern {name} is no regular expression: {error}", hint=hint) from error
    if regex.groups:
        raise UsageError(f"the pattern {name} has a group that captures", hint="write (?:...)")
    if any(not found[0] for sample in _SAMPLES for found in regex.finditer(sample)):
        raise UsageError(f"the pattern {name} matches the empty text", hint="say what it has at least")
    return pattern
