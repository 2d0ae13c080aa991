"""Runs a process under strace, and does what it did to its storage again on a simulated file system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from msgspec import Struct, field

from kernelckpt.testing import SimFileSystem

CALLS = (
    "open,openat,openat2,creat,close,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,"
    "link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,truncate,"
    "ftruncate,fallocate,copy_file_range,sendfile,mknod,mknodat"
)
"""Every call that may change a file or a folder, and those that say which descriptor is which."""

_LINE = re.compile(r"^\d+ +(?:<\.\.\. (?P<resumed>\w+) resumed>)?(?P<rest>.*)$")
_CALL = re.compile(r"(?P<call>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)(?P<told>.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_READS = ("/dev/null", "/dev/tty", "pipe:", "/proc/")


def need_strace():
    """Where strace is; fails, saying what to do, when there is none."""
    found = shutil.which("strace")
    assert found, "strace is missing: apt-get install strace (these tests need it, and are not skipped)"
    return found


class TracedCall(Struct):
    """One call that was made: its arguments as strace writes them, and what came back."""

    process: str
    call: str
    arguments: str
    result: int
    told: str

    @property
    def texts(self):
        """The quoted arguments."""
        return [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(self.arguments)]

    @property
    def descriptor(self):
        return int(re.match(r"\d+", self.arguments)[0])

    @property
    def path(self):
        """What the descriptor that is the first argument leads to."""
        return bytes.fromhex(re.match(r"\d+<([^>]*)>", self.arguments)[1].replace("\\x", "")).decode()


def trace(command, folder, *options, calls=CALLS):
    """Run a command under strace; returns the calls in the order in which they ended, and what it printed."""
    out = folder / "trace"
    strace = [need_strace(), "-f", "-y", "-xx", "-s", "1000000", "-o", str(out), "-e", f"trace={calls}"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*strace, *options, *command], stdout=subprocess.PIPE, check=False, env=environment, timeout=120
    )
    return list(read_trace(out)), done


def read_trace(path):
    """The calls of a trace; one that was interrupted by others counts when it ended."""
    begun = {}
    for line in Path(path).read_text().splitlines():
        process = line.split()[0]
        found = _LINE.match(line)
        rest = found["rest"].strip()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if found["resumed"]:
            rest = begun.pop(process) + rest
        assert '"...' not in rest, f"strace cut this short: {rest[:200]}"
        if call := _CALL.match(rest):
            yield TracedCall(process, call["call"], call["arguments"], int(call["result"]), call["told"])


class Replay(Struct):
    """What a traced process did below its root folder, and what it acknowledged.

    Attributes:
        root: the real folder that stands for "/" here.
        fs: the simulated file system on which it was done again.
        acknowledged: (point, line) for each line the process printed.
        strange: writing calls that this kit does not know, and those outside of the root.
    """

    root: str
    fs: SimFileSystem = field(default_factory=SimFileSystem)
    acknowledged: list = field(default_factory=list)
    strange: list = field(default_factory=list)
    _files: dict = field(default_factory=dict)

    def all(self, calls):
        for call in calls:
            if call.result >= 0:
                self.one(call)
        return self

    def one(self, call):
        """Do one call again."""
        if call.call in ("open", "openat", "openat2", "creat"):
            self._open(call)
        elif call.call == "close":
            if (fd := self._files.pop(call.descriptor, None)) is not None:
                self.fs.close(fd)
        elif call.call in ("write", "writev") and call.descriptor not in self._files:
            self._print(call)
        elif call.call in ("fsync", "fdatasync"):
            self._sync(call)
        elif call.call == "pwritev2" and call.descriptor in self._files:
            data, offset = b"".join(call.texts)[: call.result], int(call.arguments.split(", ")[-2])
            self.fs.pwritev(self._files[call.descriptor], [data], offset)
        else:
            self._name(call)

    def _open(self, call):
        path = self._inside(call.texts[0])
        writes = {"O_WRONLY", "O_RDWR", "O_CREAT"} & set(re.split(r"[|, ]", call.arguments))
        if not writes:
            return
        if path is None:
            if not call.texts[0].decode().startswith(_READS):
                self._note(call)
        elif "O_CREAT" in writes:
            self._files[call.result] = self.fs.create(path)
        else:
            self._files[call.result] = self.fs.open(path, write=True)

    def _sync(self, call):
        if call.descriptor in self._files:
            getattr(self.fs, call.call)(self._files[call.descriptor])
        elif (path := self._inside(call.path.encode())) is not None:
            self.fs.fsync_folder(path)  # above the root, nothing was changed

    def _name(self, call):
        paths = [self._inside(text) for text in call.texts]
        known = {"linkat": "link", "renameat": "rename", "unlinkat": "unlink"}.get(call.call, call.call)
        if known in ("link", "rename", "unlink", "mkdir", "rmdir") and None not in paths:
            getattr(self.fs, known)(*paths)
        else:
            self._note(call)

    def _print(self, call):
        if call.descriptor == 1:
            self.acknowledged.append((self.fs.point, call.texts[0].decode().strip()))
        elif call.descriptor != 2 and not call.path.startswith(("anon_inode", "socket:", "pipe:")):
            self._note(call)

    def _note(self, call):
        self.strange.append(f"{call.call}({', '.join(str(text) for text in call.texts)})")

    def _inside(self, path):
        """The path below the root, as it is called here; None when it lies elsewhere."""
        text = path.decode()
        if text == self.root:
            return "/"
        return text.removeprefix(self.root) if text.startswith(self.root + "/") else None


def normal(log):
    """A log with random names replaced by what they became, to compare with another one."""
    final, names, found = {}, {}, []
    for op in log:
        if op.call in ("create", "link", "mkdir"):
            names[op.folder, op.name] = op.inode
            if not op.name.startswith("tmp."):
                final[op.inode] = op.name
    for op in log:
        inode = op.inode or names[op.folder, op.name]
        name = f"temporary {final.get(inode)}" if op.name.startswith("tmp.") else op.name
        found.append((op.call, name or final.get(inode, "/"), op.offset, len(op.data)))
    return found


def python(script, *arguments):
    """The command that runs a script."""
    return [sys.executable, str(Path(__file__).with_name(script)), *arguments]
