"""What errors of the PostgreSQL driver mean: whether the server answered, whether trying again may help."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped] # it comes without types

from kernelckpt.errors import CorruptionError, KernelCkptError, StorageFullError, StorageUnavailableError

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.InternalClientError,
    OSError,
    EOFError,
    TimeoutError,
)
"""Everything that the driver raises, connecting included."""

_PASSING = ("08", "23503", "40001", "40P01", "53300", "55P03", "57P", "25P03")
"""23503: the run was removed meanwhile, which the next attempt sees."""
_BROKEN = ("08", "40003", "57P")
_HINTS = (
    ("28", "check the user and the password (PGPASSWORD, ~/.pgpass or the URL), and pg_hba.conf"),
    ("3D000", "create the database, or name another one in the URL"),
    ("42501", "grant the role USAGE on the schema, and SELECT, INSERT, UPDATE, DELETE on its tables"),
    ("3F", "the schema was removed, or grant the role USAGE on it"),
    ("42", "the schema was changed, or is not one of kernelckpt's: name another one by ?schema="),
    ("25006", "it takes no writes: a read replica, or default_transaction_read_only is on; name the primary"),
    ("53100", "free space on the server"),
    ("53300", "raise max_connections, or open fewer clients"),
    ("53", "give the server more memory, or fewer clients"),
    ("54", "what was to be written is larger than the server takes"),
    ("57014", "the server took too long: look at its load, or give it longer by ?timeout="),
    ("XX00", "the server's data are damaged: look at its log, restore a backup"),
    ("", "check that the server runs, and that it can be reached from here"),
)


def sqlstate(error: BaseException) -> str:
    """The five characters that the server, or the driver in its name, gave; empty when there are none."""
    return getattr(error, "sqlstate", None) or ""


def was_answered(error: BaseException) -> bool:
    """Whether the server refused the statement: it had no effect, and the connection goes on."""
    if not isinstance(error, asyncpg.PostgresError) or sqlstate(error).startswith(_BROKEN):
        return False
    return not {"FATAL", "PANIC"} & {error.severity, error.severity_en}


def is_passing(error: BaseException) -> bool:
    """Whether the same thing may work in a moment."""
    if isinstance(error, asyncpg.PostgresError):
        return sqlstate(error).startswith(_PASSING)
    return not isinstance(error, asyncpg.exceptions.ClientConfigurationError | asyncpg.DataError)


def storage_error(name: str, error: BaseException) -> KernelCkptError:
    """The error of ours for one of the driver; it quotes what was said, but no values."""
    state = sqlstate(error)
    said = str(error.args[-1]) if error.args else f"no answer in time ({type(error).__name__})"
    message = f"{name}: {said}"
    hint = next(hint for prefix, hint in _HINTS if state.startswith(prefix))
    if state in {"XX001", "XX002"}:
        return CorruptionError(message, hint=hint)
    if state in {"53100", "53200"}:
        return StorageFullError(message, hint=hint)
    return StorageUnavailableError(message, hint=hint)
