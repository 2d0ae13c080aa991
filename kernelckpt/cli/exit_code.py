"""The exit codes of all commands, and which error gives which."""

from __future__ import annotations

from enum import IntEnum

from kernelckpt.errors import (
    CheckpointFailedError,
    EncryptionError,
    FormatError,
    KernelCkptError,
    NotFoundError,
    OwnershipError,
    StorageError,
    StorageUrlError,
    UnknownTaskError,
    UsageError,
)


class ExitCode(IntEnum):
    """What a command says to whoever started it."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    NOT_FOUND = 3
    OWNED = 4
    CORRUPT = 5
    UNAVAILABLE = 6
    KEYS = 7
    UNANSWERED = 8
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


_CODES: tuple[tuple[type[KernelCkptError], ExitCode], ...] = (
    (UnknownTaskError, ExitCode.NOT_FOUND),
    (UsageError, ExitCode.USAGE),
    (StorageUrlError, ExitCode.USAGE),
    (NotFoundError, ExitCode.NOT_FOUND),
    (OwnershipError, ExitCode.OWNED),
    (FormatError, ExitCode.CORRUPT),
    (EncryptionError, ExitCode.KEYS),
    (StorageError, ExitCode.UNAVAILABLE),
    (CheckpointFailedError, ExitCode.UNAVAILABLE),
)

EXPLAINED = """\
Exit codes:
  0    all is well
  1    verification or the demo found something
  2    wrong usage: an option, an argument, a URL
  3    no such run, checkpoint or task
  4    the run's owner is alive, or took it over
  5    damaged, or written by a newer version
  6    the storage cannot be used
  7    encrypted with a key that is not at hand, or not encrypted although there are keys
  8    posted, and no kernel has said within --wait what came of it
  130  interrupted, or answered with no
  141  nobody reads the output any more"""


def exit_code_of(error: KernelCkptError) -> ExitCode:
    """The exit code that an error gives; errors of programs count as findings."""
    found = (code for kind, code in _CODES if isinstance(error, kind))
    return next(found, ExitCode.FINDINGS)
