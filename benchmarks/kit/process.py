"""What the system knows of this process: bytes written, memory now and at its highest, bytes in a folder."""

from __future__ import annotations

from pathlib import Path

_SELF = Path("/proc/self")


def written_bytes() -> int:
    """Bytes that this process has given to write calls so far."""
    fields = dict(line.split(": ") for line in (_SELF / "io").read_text().splitlines())
    return int(fields["wchar"])


def memory_bytes() -> int:
    """Resident memory now."""
    return _status("VmRSS")


def forget_peak() -> None:
    """Let `peak_bytes` begin anew."""
    (_SELF / "clear_refs").write_text("5")


def peak_bytes() -> int:
    """The highest resident memory since `forget_peak`."""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in (_SELF / "status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def folder_bytes(folder: Path) -> int:
    """The sizes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
