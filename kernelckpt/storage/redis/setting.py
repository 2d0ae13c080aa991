"""Whether a Redis server can be used, and keeps what it acknowledges: looked at when it is opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct
from redis.exceptions import BusyLoadingError

from kernelckpt.errors import StorageUnavailableError, UnsupportedVersionError
from kernelckpt.storage.redis.script import LAYOUT
from kernelckpt.storage.redis.server import RedisServer
from kernelckpt.storage.redis.url import RedisUrl

OLDEST = (6, 2)
"""The oldest version of Redis, or of what says it is compatible with one."""

_POLICY = "maxmemory_policy"
_WAITS = 60
_WAIT_SECONDS = 1.0

_KEEPS = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
"""With these a command is answered after it was synced.

Redis's `beforeSleep` calls `flushAppendOnlyFile` before `handleClientsWithPendingWrites`, "in case of
appendfsync=always" (server.c, 7.0); `flushAppendOnlyFile` leaves the sync out while a child of the server
rewrites, unless `no-appendfsync-on-rewrite` is no (aof.c, `try_fsync`).
"""

_EVERY_SECOND = _KEEPS | {"appendfsync": "everysec"}


class Verdict(Struct, frozen=True):
    """What can be relied on.

    Attributes:
        durable: whether what is acknowledged is kept, whatever happens to the server.
        notes: what the user accepted.
    """

    durable: bool
    notes: tuple[str, ...] = ()


class _NotYetError(StorageUnavailableError):
    """It will be different in a while."""


async def look_at_server(
    server: RedisServer, url: RedisUrl, sleep: Callable[[float], Awaitable[object]]
) -> Verdict:
    """Judge a server once it has loaded what it keeps, and begun its file; for that it is waited a minute.

    Raises:
        StorageUnavailableError: what `judge_server` and `check_layout` raise; or it is not ready.
        UnsupportedVersionError: a newer version wrote what is there.
    """
    tries = 0
    while True:
        try:
            verdict = await judge_server(server, url)
            await check_layout(server, url.prefix)
        except StorageUnavailableError as error:
            tries += 1
            passes = isinstance(error, _NotYetError) or isinstance(error.__cause__, BusyLoadingError)
            if tries == _WAITS or not passes:
                raise
        else:
            return verdict
        await sleep(_WAIT_SECONDS)


async def judge_server(server: RedisServer, url: RedisUrl) -> Verdict:
    """Look at a server's settings.

    Raises:
        StorageUnavailableError: it is no server to keep runs on; or it would lose what it acknowledges, and
            the URL does not accept that.
    """
    info = await _info(server)
    if info is not None:
        _refuse_kind(server.name, info)
    settings = await _settings(server) if info is not None and _POLICY in info else None
    if settings is None:
        return _trusted(url)
    wrong = {name: settings.get(name, "missing") for name in _KEEPS if settings.get(name) != _KEEPS[name]}
    if not wrong:
        return _begun(url, info or {})
    return _accepted(url, settings, wrong)


async def check_layout(server: RedisServer, prefix: str) -> None:
    """Look at what is there already; the first owner of a run marks the prefix as a storage.

    Raises:
        StorageUnavailableError: something else is there.
        UnsupportedVersionError: a newer version wrote what is there.
    """
    key = f"{prefix}:layout"
    found: bytes | None = await server.ask("GET", key)
    if found is None:
        return
    if not found.isdigit():
        raise StorageUnavailableError(
            f"{server.name}: {key!r} is no mark of a storage", hint="use another prefix: ?prefix=NAME"
        )
    if int(found) > LAYOUT:
        raise UnsupportedVersionError(
            f"{server.name}: layout version {int(found)}; this package reads up to {LAYOUT}",
            hint="upgrade kernelckpt",
            found=int(found),
            supported=LAYOUT,
        )


async def _info(server: RedisServer) -> dict[str, str] | None:
    """What the server says of itself; None where it must not be asked."""
    try:
        found: bytes = await server.ask("INFO")
    except StorageUnavailableError as error:
        if _is_denied(error):
            return None
        raise
    lines = found.decode("utf-8", "replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


async def _settings(server: RedisServer) -> dict[str, str] | None:
    """The settings of the append-only file; None where they are not shown."""
    try:
        found: list[bytes] = await server.ask("CONFIG", "GET", "*append*")
    except StorageUnavailableError as error:
        if _is_denied(error):
            return None
        raise
    words = [word.decode("utf-8", "replace") for word in found]
    return dict(zip(words[::2], words[1::2], strict=True)) or None


def _is_denied(error: StorageUnavailableError) -> bool:
    return any(word in str(error) for word in ("NoPermissionError", "unknown command", "unknown subcommand"))


def _refuse_kind(name: str, info: dict[str, str]) -> None:
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise _refusal(name, f"it is Redis {version}", f"use Redis {needed} or newer")
    if info.get("role", "master") != "master":
        raise _refusal(name, "it is a replica", "name the primary")
    if info.get("cluster_enabled", "0") != "0":
        raise _refusal(name, "it is a node of a cluster", "use a server that is none")
    policy = info.get(_POLICY, "noeviction")
    if policy != "noeviction":
        hint = "CONFIG SET maxmemory-policy noeviction, and in its configuration file"
        raise _refusal(name, f"maxmemory-policy is {policy}: it would throw runs away silently", hint)


def _trusted(url: RedisUrl) -> Verdict:
    if url.assume_durable:
        note = f"{url.name} does not show its settings; that it keeps what it acknowledges was not checked"
        return Verdict(durable=True, notes=(note,))
    raise _refusal(
        url.name,
        "it does not show whether it keeps what it acknowledges (INFO or CONFIG GET is denied)",
        "allow `CONFIG GET`; or, knowing that it does, put assume_durable=1 into the URL",
    )


def _begun(url: RedisUrl, info: dict[str, str]) -> Verdict:
    """What to think of a server whose settings are right: it may not keep yet what they say.

    From `CONFIG SET appendonly yes` until the first rewrite is done, commands go to a temporary file that no
    restart reads. The first rewrite of a file that was begun empty looks the same.
    """
    is_rewriting = "1" in {info.get("aof_rewrite_in_progress"), info.get("aof_rewrite_scheduled")}
    has_failed = info.get("aof_last_bgrewrite_status", "ok") != "ok"
    if info.get("aof_base_size", "0") != "0" or not (is_rewriting or has_failed):
        return Verdict(durable=True)
    reason = "its append-only file is being begun; when it dies before that is done, everything may be lost"
    if url.accept_loss == "all":
        return Verdict(durable=False, notes=(f"{url.name}: {reason}",))
    raise _NotYetError(
        f"{url.name} cannot be used yet: {reason}", hint="`INFO persistence` says when the rewrite is done"
    )


def _accepted(url: RedisUrl, settings: dict[str, str], wrong: dict[str, str]) -> Verdict:
    said = ", ".join(f"{name} is {value}" for name, value in wrong.items())
    every_second = all(settings.get(name) == value for name, value in _EVERY_SECOND.items())
    loss = "up to about a second" if every_second else "everything since it was last saved, maybe all"
    if url.accept_loss == "all" or (url.accept_loss == "everysec" and every_second):
        return Verdict(durable=False, notes=(f"{url.name}: {said}; when it dies, {loss} may be lost",))
    remedies = "; ".join(f"CONFIG SET {name} {_KEEPS[name]}" for name in wrong)
    option = "everysec" if every_second else "all"
    raise _refusal(
        url.name,
        f"{said}; when it dies, {loss} may be lost",
        f"{remedies} (and in its configuration file); or accept the loss: accept_loss={option} in the URL",
    )


def _refusal(name: str, reason: str, hint: str) -> StorageUnavailableError:
    return StorageUnavailableError(f"{name} cannot be used: {reason}", hint=hint)
