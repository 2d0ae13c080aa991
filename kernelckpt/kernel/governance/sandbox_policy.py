"""The sandbox policy: what a sandbox would refuse, judged by names and paths in the arguments alone."""

from __future__ import annotations

import re
from typing import TypeAlias

from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.governance.stage import SANDBOX_POLICY
from kernelckpt.model.governance import Deny, GovernancePolicy, GovernedCall, SandboxProfile

NETWORK_WORDS = ("net", "http", "fetch", "download", "curl", "request", "url")
"""A tool whose name, in lower case, contains one of these speaks of the network."""

WRITE_WORDS = (
    "write",
    "delete",
    "save",
    "create",
    "overwrite",
    "remove",
    "edit",
    "update",
    "patch",
    "append",
)
"""A tool whose name, in lower case, contains one of these writes files; any other one reads them."""

PATH_ARGUMENTS = ("path", "filename", "dir", "directory", "filepath", "dest", "src", "target")
"""The arguments that, if they are text, are taken for paths."""

_ROOT = re.compile("/|[A-Za-z]:/?")

_Place: TypeAlias = tuple[str, tuple[str, ...]]


class SandboxPolicy:
    """Denies what the profile of a policy does not allow; without a profile, nothing.

    A path is inside a folder if its parts begin with the folder's: `/data` does not allow `/database`.
    Unlike in the original, `.` and `..` are resolved first, so that `/data/../etc` is not inside `/data`, and
    the folder `.` allows every relative path that stays below it. A backslash separates like a slash, and
    a path with both backslashes and `..` is inside of nothing. Nothing is looked up on a disk: links are not
    followed.
    """

    def __init__(self, policy: GovernancePolicy) -> None:
        """The check of a policy."""
        profile = policy.sandbox
        self._is_open = profile is None
        profile = profile or SandboxProfile()
        self._allows_network = profile.allow_network
        self._read = tuple(_place(folder) for folder in profile.allow_fs_read)
        self._write = tuple(_place(folder) for folder in profile.allow_fs_write)

    def __call__(self, call: GovernedCall, _caller: Caller) -> Deny | None:
        """A denial, or None."""
        if self._is_open:
            return None
        name = call.tool.lower()
        if not self._allows_network and _speaks_of(name, NETWORK_WORDS):
            return Deny(SANDBOX_POLICY, f"tool {call.tool!r} may not use the network")
        arguments = call.arguments if isinstance(call.arguments, dict) else {}
        is_write = _speaks_of(name, WRITE_WORDS)
        allowed = self._write if is_write else self._read
        for key in PATH_ARGUMENTS:
            path = arguments.get(key)
            if isinstance(path, str) and not _is_inside_any(path, allowed):
                done = "writing" if is_write else "reading"
                return Deny(SANDBOX_POLICY, f"argument {key!r} is outside the folders allowed for {done}")
        return None


def _speaks_of(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)


def _is_inside_any(path: str, folders: tuple[_Place, ...]) -> bool:
    if "\\" in path and ".." in path:
        return False  # where it leads depends on the system that reads it
    root, parts = _place(path)
    return any(root == other and _is_below(parts, folder) for other, folder in folders)


def _is_below(parts: tuple[str, ...], folder: tuple[str, ...]) -> bool:
    return parts[: len(folder)] == folder and parts[len(folder) :][:1] != ("..",)


def _place(path: str) -> _Place:
    """The root of a path, "" if it is relative, and its parts without `.`, and `..` only where one starts."""
    path = path.replace("\\", "/")
    match = _ROOT.match(path)
    root, rest = (match[0].rstrip("/") or "/", path[match.end() :]) if match else ("", path)
    parts: list[str] = []
    for part in rest.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in {"", "."} and not (part == ".." and root):
            parts.append(part)
    return root, tuple(parts)
