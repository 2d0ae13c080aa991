"""A database of runs: made, looked at from outside, and made to fail."""

import sqlite3
import subprocess
import sys
from contextlib import closing

from kernelckpt.storage import SqliteStorage


class Faults:
    """Connections on which some statements fail, or are replaced by others.

    Attributes:
        failing: the result code of SQLite by the beginning of the statement; removed once it was raised.
        done_before: whether a failing statement is executed all the same.
        replaced: what is done instead, by the whole statement.
    """

    def __init__(self):
        self.failing = {}
        self.replaced = {}
        self.done_before = False
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, statement, *values):
                return self._do(super().execute, statement, *values)

            def executescript(self, statement):
                return self._do(super().executescript, statement)

            def _do(self, call, statement, *values):
                for start in [start for start in faults.failing if statement.startswith(start)]:
                    if faults.done_before:
                        call(statement, *values)
                    raise sqlite_exception(faults.failing.pop(start))
                return call(faults.replaced.get(statement, statement), *values)

        self._kind = Connection

    def connect(self, *arguments, **options):
        return sqlite3.connect(*arguments, factory=self._kind, **options)


def sqlite_exception(code):
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode, error.sqlite_errorname = code, f"code {code}"
    return error


async def ask(storage, *statements, thread="_writer"):
    """Run statements on a storage's own connection; the first value of each."""

    def run(file):
        return [(file.open().execute(statement).fetchone() or [None])[0] for statement in statements]

    return await getattr(storage, thread).call(run)


def outside(path, *statements):
    """Run statements as somebody else would, on a database that this process has not open."""
    with closing(sqlite3.connect(path)) as db:
        found = [db.execute(statement).fetchone() for statement in statements]
        db.commit()
        return found


def copied(path, target):
    """Copy a file as another process does: SQLite's locks in this one end when the file is closed here."""
    subprocess.run(["cp", str(path), str(target)], check=True)
    return target


async def filled(path, *bodies):
    """A database with a run of these entries, closed."""
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        for number, body in enumerate(bodies, claim.head + 1):
            await storage.append("run", claim.epoch, number, [body], b"meta %d" % number)


async def contents(storage, run_id="run"):
    """The bodies of a run's entries."""
    entries = await storage.list_entries(run_id, limit=100_000)
    assert not [entry for entry in entries if entry.damage]
    return [await storage.read(run_id, entry.epoch, entry.sequence) for entry in entries]


def child(program, *arguments):
    """A process of its own that runs a program text."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
