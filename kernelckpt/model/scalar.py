"""Whole numbers with the ranges the format gives them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

U32: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""0 to 4,294,967,295."""

U64: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""0 to 9,223,372,036,854,775,807: the unsigned range that every msgpack reader can hold signed."""
