"""The shape that all records share: frozen, defaults left out, unknown fields refused."""

from __future__ import annotations

from msgspec import Struct


class Record(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """A frozen record of the state. A change puts a new one in its place."""
