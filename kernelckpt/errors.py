"""Every error kernelckpt raises, in one tree.

KernelCkptError
├── UsageError                  the caller's call or program is off; nothing changed
│   ├── InvalidValueError       a value the state cannot hold exactly; names the path
│   ├── UnknownProgramError     no program of that name in this scheduler
│   ├── UnknownToolError        no tool of that name in this scheduler
│   ├── UnknownTaskError        no task of that id in the table
│   ├── ContextNotLoadedError   the context of a large run that is read when needed; load it first
│   ├── TaskMismatchError       the id is taken by another program or input
│   ├── TurnEnded               something was staged after the turn's ending
│   ├── TurnStalled             a turn staged nothing and ended in nothing
│   ├── ReadOnlyError           the storage is only to be read
│   ├── StepMismatchError       a function run again does not make the steps that are recorded
│   └── StepLimitError          a function has as many steps recorded as it may have
├── EffectError                 the call made through the ledger raised
│   └── EffectDenied            it is not to be done, or not again; says whether it may have happened
├── GovernanceError             governance does not let it be done
│   ├── GovernanceDenied        a stage denied it
│   └── RateLimitedError        not yet: it was done too often
├── ToolError                   raised by tools, to say how they failed
├── ProviderError               a model's provider gave an error for an answer, or only a part of one
├── SchedulerStopped            the kernel stopped before the answer was there
├── StorageError                the storage could not do what was asked
│   ├── StorageUrlError         the URL names no storage that can be opened
│   ├── StorageUnavailableError the folder or server cannot be used at all
│   ├── StorageFullError        no space, no quota, no descriptor left
│   ├── SyncFailedError         a sync failed: what was written there may be lost
│   ├── NotFoundError           no such run, entry or blob
│   ├── UnknownOutcomeError     an append may or may not have happened
│   └── UnfinishedCopyError     copying the run to here was not finished
├── OwnershipError              the run belongs to somebody else
│   ├── RunOwnedError           its owner is alive
│   └── FencedError             a later owner took the run over
├── FormatError                 bytes that are not what they should be
│   ├── DecodeError             a record does not have its type; names the path
│   ├── UnsupportedVersionError written by a newer kernelckpt
│   └── CorruptionError         acknowledged bytes are damaged or missing
│       └── DamagedRunsError    some of the runs cannot be listed; holds the ids of all others
├── EncryptionError             what was found and the keys at hand do not belong together
│   ├── UnknownKeyError         encrypted with a key that is not at hand, or with another one of that id
│   └── PlaintextError          not encrypted, although there are keys
├── RestoreError                the state was read, but this program cannot run it
└── CheckpointFailedError       saving failed too often; the kernel was halted
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any


class KernelCkptError(Exception):
    """The root: every error of this package.

    Attributes:
        hint: what the user can do about it; printed by the command line.
    """

    hint: str = ""

    def __init__(self, message: str, *, hint: str = "", **facts: Any) -> None:
        """Keep the message, the hint, and each fact as an attribute of its name."""
        super().__init__(message)
        if hint:
            self.hint = hint
        for name, value in facts.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({self.hint})" if self.hint else text

    @property
    def message(self) -> str:
        """The text without the hint."""
        return super().__str__()


class UsageError(KernelCkptError):
    """The call is off; nothing was changed."""


class InvalidValueError(UsageError):
    """A value that the state cannot hold exactly.

    Attributes:
        path: where it is, as `input.files[3]`.
    """

    path: str = ""


class UnknownProgramError(UsageError):
    """No program of that name is registered."""


class UnknownToolError(UsageError):
    """No tool of that name is registered."""


class UnknownTaskError(UsageError):
    """No task of that id is in the table."""


class ContextNotLoadedError(UsageError):
    """The context of a task was not read yet since the start of a large run.

    Attributes:
        hint: says how to load it.
    """

    hint = "await kernel.load_contexts(...) first"


class TaskMismatchError(UsageError):
    """A task of that id exists with another program or another input."""


class TurnEnded(UsageError):  # noqa: N818 - a public name
    """Something was staged after the turn had been ended."""


class TurnStalled(UsageError):  # noqa: N818 - a public name
    """A turn staged nothing and ended in nothing: it would repeat for ever."""


class ReadOnlyError(UsageError):
    """The storage is only to be read here: the call was refused before anything reached it."""


class StepMismatchError(UsageError):
    """A straight-line function that is run again does not make the steps that are recorded.

    Attributes:
        recorded: the steps that it has not asked for, as `pay(100)`.
        asked: what it does instead.
    """

    recorded: Sequence[str] = ()
    asked: str = ""


class StepLimitError(UsageError):
    """A straight-line function has as many steps recorded as it may have."""


class EffectError(KernelCkptError):
    """A call made through the ledger raised; raised alike on the first run and on a rerun.

    Attributes:
        name: the effect's name.
        error: type and text of what was raised.
    """

    name: str = ""
    error: str = ""


class EffectDenied(EffectError):  # noqa: N818 - a public name
    """An effect in doubt is not to be done again, or one that a human was asked about is not to be done.

    Attributes:
        may_have_happened: whether it was begun once, and nobody knows what became of it.
    """

    may_have_happened: bool = False


class GovernanceError(KernelCkptError):
    """Governance does not let something be done; left uncaught in a turn, the turn is rolled back.

    Attributes:
        name: the tool, effect or program.
        reason: why.
    """

    name: str = ""
    reason: str = ""


class GovernanceDenied(GovernanceError):  # noqa: N818 - a public name
    """A stage denied it.

    Attributes:
        stage: the stage, as `permission`.
    """

    stage: str = ""


class RateLimitedError(GovernanceError):
    """It was done too often of late.

    Attributes:
        retry_after_ms: milliseconds after which it may be tried again.
    """

    retry_after_ms: int = 0


class ToolError(KernelCkptError):
    """Raised by a tool to say how it failed.

    Attributes:
        kind: "recoverable" (the agent is told, like of any other exception), or one after which its
            request makes no sense and is rolled back: "fatal", "provider_failure", "timeout",
            "user_interrupt".
    """

    kind: str = "recoverable"

    def __init__(self, message: str, *, kind: str | None = None, hint: str = "") -> None:
        """Keep the message and the kind; by default that of the class.

        Raises:
            InvalidValueError: there is no such kind.
        """
        kind = self.kind if kind is None else kind
        if kind not in _TOOL_ERROR_KINDS:
            known = ", ".join(_TOOL_ERROR_KINDS)
            text = f"kind: {kind!r} is no kind of tool error"
            raise InvalidValueError(text, path="kind", hint=f"use one of {known}")
        super().__init__(message, hint=hint, kind=str(kind))


_TOOL_ERROR_KINDS = ("recoverable", "fatal", "provider_failure", "timeout", "user_interrupt")


class ProviderError(KernelCkptError):
    """A model's provider answered with an error, or its answer was cut off before its end.

    Attributes:
        kind: what the provider calls it, as `overloaded_error`; "incomplete" for an answer cut off.
    """

    kind: str = ""


class SchedulerStopped(KernelCkptError):  # noqa: N818 - a public name
    """The kernel stopped before what was waited for had happened; restart and ask again."""


class StorageError(KernelCkptError):
    """The storage could not do what was asked."""


class StorageUrlError(StorageError):
    """The URL names no storage that can be opened here."""


class StorageUnavailableError(StorageError):
    """The folder or server cannot be used: missing, unreadable, not a storage of ours."""


class StorageFullError(StorageError):
    """No space, quota or descriptor is left; going on may work once there is."""


class SyncFailedError(StorageError):
    """A sync failed: what was written to that file since its last good sync may be lost."""


class NotFoundError(StorageError):
    """No such run, entry or blob."""


class UnknownOutcomeError(StorageError):
    """The answer to an append was lost: read the number back before anything else."""


class UnfinishedCopyError(StorageError):
    """Copying the run to here was not finished: what is there is an older state of it, or part of one."""


class OwnershipError(KernelCkptError):
    """The run belongs to somebody else."""


class RunOwnedError(OwnershipError):
    """The run's owner is alive.

    Attributes:
        run_id: the run.
        holder: what the owner said of itself.
    """

    run_id: str = ""
    holder: str = ""


class FencedError(OwnershipError):
    """A later owner took the run over; this one must stop before its next output."""


class FormatError(KernelCkptError):
    """Bytes that are not what they should be."""


class DecodeError(FormatError):
    """A record does not have its type.

    Attributes:
        path: where, as `tasks["c1"].state`.
    """

    path: str = ""


class UnsupportedVersionError(FormatError):
    """The bytes were written by a newer version.

    Attributes:
        found: the version found.
        supported: the newest one this package reads.
    """

    found: int = 0
    supported: int = 0


class CorruptionError(FormatError):
    """Acknowledged bytes are damaged or missing.

    Attributes:
        lost: descriptions of what would be lost by going on without them.
    """

    lost: Sequence[str] = ()


class DamagedRunsError(CorruptionError):
    """Some of the runs of a storage cannot be listed: what says that they are there cannot be read.

    Attributes:
        runs: the ids of all others, sorted.
        damaged: what is wrong with each, by its id; by where it lies, if that hides the id.
    """

    runs: Sequence[str] = ()
    damaged: Mapping[str, KernelCkptError] = MappingProxyType({})


class EncryptionError(KernelCkptError):
    """What was found and the keys at hand do not belong together; nothing is wrong with the bytes."""


class UnknownKeyError(EncryptionError):
    """Encrypted with a key that is not at hand, or with another one of that id.

    Attributes:
        key_id: the id of the key.
    """

    hint = "give the key ring the key that the run was written with; see docs/encryption.md"
    key_id: str = ""


class PlaintextError(EncryptionError):
    """Not encrypted, although there are keys: it was begun without, or somebody put it there."""

    hint = (
        "for a run that was begun without keys: KeyRing(..., accept_plaintext=True), on the command line "
        "--accept-plaintext; `rekey` encrypts it"
    )


class RestoreError(KernelCkptError):
    """The state is sound, but this program cannot run it.

    Attributes:
        missing: what is missing, as `program "survey" (tasks a, b)`.
    """

    missing: Sequence[str] = ()


class CheckpointFailedError(KernelCkptError):
    """Saving failed too often in a row, or can never succeed; the kernel was halted."""
