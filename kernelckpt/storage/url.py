"""The URL table: which storage a URL names, and opening it."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType, TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import quote_from_bytes, unquote_to_bytes

from anyio import to_thread

from kernelckpt.abc import StorageBackend
from kernelckpt.errors import StorageUrlError

Opener: TypeAlias = Callable[[str], Awaitable[StorageBackend]]
"""What an entry point of the group `kernelckpt.storage` names: it is given the whole URL."""

GROUP = "kernelckpt.storage"
_BUILT_IN = {
    "az": ("kernelckpt.storage.objects.storage", "open_objects", "objects"),
    "file": ("kernelckpt.storage.file.storage", "open_file", ""),
    "gs": ("kernelckpt.storage.objects.storage", "open_objects", "objects"),
    "memory": ("kernelckpt.storage.memory", "open_memory", ""),
    "postgres": ("kernelckpt.storage.postgres.storage", "open_postgres", "postgres"),
    "postgresql": ("kernelckpt.storage.postgres.storage", "open_postgres", "postgres"),
    "redis": ("kernelckpt.storage.redis.storage", "open_redis", "redis"),
    "rediss": ("kernelckpt.storage.redis.storage", "open_redis", "redis"),
    "s3": ("kernelckpt.storage.objects.storage", "open_objects", "objects"),
    "sqlite": ("kernelckpt.storage.sqlite.storage", "open_sqlite", ""),
}
"""Where the opener of each scheme is, and the extra that its driver comes with."""
_FILE_OPTIONS = ("allow_network_fs",)
_PATH_HINT = "write file:./folder or file:/absolute/folder"
_DATABASE_HINT = "write sqlite:./state.db or sqlite:/absolute/state.db"


class open_storage:  # noqa: N801 - used as a function: `async with open_storage(url) as storage`
    """Open the storage that a URL names; also `storage = await open_storage(url)`.

    Args:
        url: `memory:`, `memory:NAME`, `file:./folder`, `file:/folder` or `sqlite:./state.db` (on a network
            file system only with `?allow_network_fs=1` behind it), `postgresql://user@host/db`,
            `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `redis://host/0` (each needs
            its extra: `postgres`, `objects`, `redis`), or a scheme that an installed package adds by the
            entry-point group `kernelckpt.storage`. Their options are in docs/storage.md.

    Raises:
        StorageUrlError: no such scheme, or the URL names nothing that can be opened.
        StorageError: it cannot be opened; raised on entering or awaiting.
    """

    def __init__(self, url: str) -> None:
        """Open nothing yet."""
        self._url = url
        self._storage: StorageBackend | None = None

    def __await__(self) -> Generator[Any, Any, StorageBackend]:
        return self._open().__await__()

    async def __aenter__(self) -> StorageBackend:
        self._storage = await self._open()
        return self._storage

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._storage is not None:
            await self._storage.aclose()

    async def _open(self) -> StorageBackend:
        opener = await to_thread.run_sync(_find_opener, self._url)
        return await opener(self._url)


class Local(Protocol):
    """A storage that lies at a path of this machine."""

    async def check(self) -> None:
        """Raise unless it can be used."""

    async def aclose(self) -> None:
        """Close it."""


L = TypeVar("L", bound=Local)


async def open_local(url: str, make: Callable[..., L]) -> L:
    """Open what lies at the path that a URL names, once it was checked.

    Args:
        url: as `file_path` and `file_options` read it.
        make: given the path, and `allow_network_fs`.
    """
    allowed = "allow_network_fs" in file_options(url)
    opening = partial(make, file_path(url), allow_network_fs=allowed)
    storage = await to_thread.run_sync(opening)  # a relative path asks the system
    try:
        await storage.check()
    except BaseException:
        await storage.aclose()
        raise
    return storage


def local_url(scheme: str, path: str) -> str:
    """The URL that names a path."""
    return f"{scheme}:" + quote_from_bytes(os.fsencode(path), safe="/+,:=@ ")


def file_path(url: str) -> str:
    """The folder that a `file:` URL names, or the file that a `sqlite:` URL does.

    Raises:
        StorageUrlError: it names none.
    """
    rest = url.partition(":")[2].partition("?")[0]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost") or not slash:
            raise _bad(url, f"{host or 'nothing'!r} stands where a host belongs")
        rest = slash + path
    if "#" in rest:
        raise _bad(url, "'#' is no part of a path", "write %23 for a '#' in a name")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise _bad(url, "a '%' is followed by no two hexadecimal digits", "write %25 for a '%' in a name")
    try:
        path = os.fsdecode(unquote_to_bytes(os.fsencode(rest)))
    except UnicodeEncodeError as error:
        raise _bad(url, "it holds a lone surrogate") from error
    if not path or "\0" in path:
        raise _bad(url, "it names no folder")
    if path.startswith("~"):
        raise _bad(url, "'~' is not expanded", "write the absolute path")
    return path


def file_options(url: str) -> frozenset[str]:
    """The options that a `file:` or `sqlite:` URL sets, as `?allow_network_fs=1`.

    Raises:
        StorageUrlError: it names one that does not exist, or gives it another value.
    """
    found: set[str] = set()
    for option in filter(None, url.partition("?")[2].split("&")):
        name, _, value = option.partition("=")
        if name not in _FILE_OPTIONS or value not in {"0", "1"}:
            known = ", ".join(f"{name}=1" for name in _FILE_OPTIONS)
            hint = f"the options are: {known}; write %3F for a '?' in a name"
            raise StorageUrlError(f"{url!r}: no option {option!r}", hint=hint)
        if value == "1":
            found.add(name)
    return frozenset(found)


def memory_name(url: str) -> str:
    """The name in a `memory:` URL; empty for a fresh storage."""
    return url.partition(":")[2]


def _find_opener(url: str) -> Opener:
    scheme, colon, _ = url.partition(":")
    if colon and scheme in _BUILT_IN:
        module, name, extra = _BUILT_IN[scheme]
        return cast("Opener", getattr(_import(scheme, module, extra), name))
    found = {point.name: point for point in entry_points(group=GROUP)}
    if colon and scheme in found:
        return cast("Opener", found[scheme].load())
    known = ", ".join(f"{name}:" for name in sorted({*_BUILT_IN, *found}))
    if not colon:
        raise StorageUrlError(f"{url!r} is no storage URL; known schemes: {known}", hint=_PATH_HINT)
    raise StorageUrlError(
        f"no storage for the scheme {scheme!r}; known schemes: {known}",
        hint="install the package that provides it, or " + _PATH_HINT,
    )


def _import(scheme: str, module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("kernelckpt"):
            raise
        raise StorageUrlError(
            f"{scheme}: needs the package {error.name!r}, which is not installed",
            hint=f"pip install 'kernelckpt[{extra}]'",
        ) from error


def _bad(url: str, reason: str, hint: str = "") -> StorageUrlError:
    if url.startswith("sqlite:"):
        return StorageUrlError(f"{url!r} names no file: {reason}", hint=hint or _DATABASE_HINT)
    return StorageUrlError(f"{url!r} names no folder: {reason}", hint=hint or _PATH_HINT)
