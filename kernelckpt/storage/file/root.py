"""The root folder of the file storage: its marker, and one folder a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath

from kernelckpt.errors import (
    CorruptionError,
    FormatError,
    KernelCkptError,
    NotFoundError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from kernelckpt.storage import refusal
from kernelckpt.storage.file.error import storage_error
from kernelckpt.storage.file.name import (
    MARKER,
    RUN,
    is_removed,
    is_run_folder,
    is_temporary,
    removed_name,
    run_folder_name,
    run_id_of,
    sort_names,
)
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import exists, read_file, write_new
from kernelckpt.storage.file.record import decode_record, encode_record
from kernelckpt.storage.text import bytes_text, text_bytes

_MARKER, _RUN = "kernelckpt-folder", "kernelckpt-run"


def run_digest(run_id: str) -> bytes:
    """What ties a segment to its run."""
    return hashlib.sha256(text_bytes(run_id)).digest()[:16]


def make_folders(ops: FileOps, path: str) -> None:
    """Make a folder and those above it durably, where they are missing."""
    folders = [path, *map(str, PurePath(path).parents)]
    missing = [folder for folder in folders if not exists(ops, folder)]
    for folder in reversed(missing):
        with suppress(FileExistsError):
            ops.mkdir(folder)
    for folder in folders:
        with suppress(PermissionError):  # one that cannot be read was not made by us
            ops.fsync_folder(folder)


class RootFolder:
    """Finds, makes and removes the folders of runs. Reading never makes anything."""

    def __init__(self, ops: FileOps, path: str) -> None:
        """Touch nothing yet."""
        self.ops = ops
        self.path = path

    def check(self) -> bool:
        """Whether the folder is there and ours; false when there is none, or an empty one.

        Raises:
            StorageUnavailableError: it holds files but no marker, or is no folder.
            UnsupportedVersionError: a newer version made it.
        """
        path = f"{self.path}/{MARKER}"
        try:
            decode_record(read_file(self.ops, path), _MARKER, (), path)
            return True
        except FileNotFoundError:
            pass
        try:
            names = self.ops.listdir(self.path)
        except FileNotFoundError:
            return False
        if MARKER in names:
            return self.check()
        if any(not is_temporary(name) for name in names):
            raise StorageUnavailableError(
                f"{self.path}: a foreign folder: it holds files but no {MARKER!r} marker",
                hint="name an empty or a new folder",
            )
        return False

    def make_run(self, run_id: str) -> str:
        """The folder of a run, made durably when there is none."""
        if not self.check():
            self._make_root()
        path = self._run_path(run_id)
        if not self._is_run(path, run_id):
            # The marker may not be durable yet if its maker was killed; a folder without it is foreign.
            self.ops.fsync_folder(self.path)
            with suppress(FileExistsError):
                self.ops.mkdir(path)
            self._refuse_link(path)
            write_new(self.ops, path, RUN, encode_record(_RUN, text_bytes(run_id)))
        # Whoever made it may have been killed before this.
        self.ops.fsync_folder(self.path)
        return path

    def find_run(self, run_id: str) -> str:
        """The folder of a run.

        Raises:
            NotFoundError: there is none.
        """
        path = self._run_path(run_id)
        if not self.check() or not self._is_run(path, run_id):
            raise NotFoundError(f"{self.path}: no run {run_id[:200]!r}", hint="`kernelckpt runs` lists them")
        return path

    def find_doomed(self, run_id: str) -> str:
        """The folder of a run that is to be deleted; its name tells whose it is where its file does not.

        Raises:
            NotFoundError: there is none.
        """
        path = self._run_path(run_id)
        if not self.check() or not self._is_headless(path):
            return self.find_run(run_id)
        write_new(self.ops, path, RUN, encode_record(_RUN, text_bytes(run_id)))
        return path

    def list_runs(self) -> Sequence[str]:
        """See `StorageBackend.list_runs`."""
        if not self.check():
            return []
        found: list[str] = []
        damaged: dict[str, KernelCkptError] = {}
        for name in filter(is_run_folder, self.ops.listdir(self.path)):
            try:
                if (run_id := self._listed_id(name)) is not None:
                    found.append(run_id)
            except (FormatError, StorageError) as error:
                damaged[run_id_of(name) or name] = error
        if damaged:
            raise refusal.damaged_runs(self.path, found, damaged)
        return sorted(found)

    def remove_run(self, path: str) -> None:
        """Remove a run's folder, which vanishes at once; the caller holds its newest epoch.

        Raises:
            StorageError: somebody put files into it that are not ours.
        """
        foreign = sort_names(self.ops.listdir(path)).foreign
        if foreign:
            raise StorageError(
                f"{path}: holds files that are not of this storage: {', '.join(sorted(foreign)[:5])}",
                hint="move them away, then delete the run again",
            )
        self.ops.rename(path, f"{self.path}/{removed_name()}")
        self.ops.fsync_folder(self.path)
        for name in filter(is_removed, self.ops.listdir(self.path)):
            self._remove_folder(f"{self.path}/{name}")

    def _remove_folder(self, path: str) -> None:
        with suppress(FileNotFoundError):  # somebody else may be at it
            for name in self.ops.listdir(path):
                with suppress(FileNotFoundError):
                    self.ops.unlink(f"{path}/{name}")
            self.ops.rmdir(path)

    def _make_root(self) -> None:
        make_folders(self.ops, self.path)
        write_new(self.ops, self.path, MARKER, encode_record(_MARKER))

    def _run_path(self, run_id: str) -> str:
        return f"{self.path}/{run_folder_name(run_id)}"

    def _is_run(self, path: str, run_id: str) -> bool:
        try:
            found = self._read_run_id(path)
        except FileNotFoundError:
            return False
        if found != run_id:
            raise _misplaced(path, found)
        return True

    def _listed_id(self, name: str) -> str | None:
        """The id of the run in a folder; None if it is being made, or was deleted since it was listed.

        Raises:
            FormatError: it cannot be known, or is that of another folder.
            StorageError: it cannot be read.
        """
        path = f"{self.path}/{name}"
        try:
            found = self._read_run_id(path)
        except FileNotFoundError:
            if self._holds_run(path):
                raise _headless(f"{path}/{RUN}", "missing") from None
            return None
        except OSError as error:
            explained = storage_error(error, path)
            if isinstance(explained, StorageFullError):
                raise  # it is not this run
            raise explained from error
        if run_folder_name(found) != name:
            raise _misplaced(path, found)
        return found

    def _is_headless(self, path: str) -> bool:
        """Whether a run is in a folder, and the file that says which cannot be read or is missing."""
        try:
            self._read_run_id(path)
        except FileNotFoundError:
            return self._holds_run(path)
        except CorruptionError:
            return True
        return False

    def _holds_run(self, path: str) -> bool:
        """Whether a folder holds what is only written once its run is there."""
        try:
            names = sort_names(self.ops.listdir(path))
        except FileNotFoundError:
            return False
        return bool(names.owners or names.segments)

    def _read_run_id(self, path: str) -> str:
        self._refuse_link(path)
        data = read_file(self.ops, f"{path}/{RUN}")
        try:
            (found,), _ = decode_record(data, _RUN, (bytes,), f"{path}/{RUN}")
        except CorruptionError as error:
            raise _headless(f"{path}/{RUN}", f"damaged: no whole {_RUN!r} record") from error
        return bytes_text(bytes(found))

    def _refuse_link(self, path: str) -> None:
        if self.ops.stat(path).kind != "folder":
            raise StorageUnavailableError(f"{path}: not a folder", hint="move it away")


def _misplaced(path: str, found: str) -> CorruptionError:
    return CorruptionError(f"{path}: is the folder of run {found[:200]!r}", hint="move it away", lost=(path,))


def _headless(path: str, what: str) -> CorruptionError:
    return CorruptionError(
        f"{path}: {what}; it says nothing but which run is in its folder",
        hint="restore it from a backup, or move it away and start the run's kernel, which makes it anew",
        lost=(path,),
    )
