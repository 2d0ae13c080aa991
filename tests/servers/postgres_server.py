"""A PostgreSQL server of the tests' own: a cluster in a folder, trusted on the loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from server_process import ServerProcess

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
PROGRAMS = DEBIAN[-1] if DEBIAN else Path(shutil.which("initdb") or "/missing/initdb").parent


class PostgresServer(ServerProcess):
    """A cluster; settings are given to the server when it is started."""

    settings = ("max_connections=200", "shared_buffers=64MB")

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.data = folder / "data"
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [
                PROGRAMS / "initdb",
                "-D",
                self.data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **self.options(),
        )

    def command(self):
        given = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            *self.settings,
        ]
        return [str(PROGRAMS / "postgres"), "-D", str(self.data), *(f"--{one}" for one in given)]

    def options(self):
        as_postgres = {"user": "postgres", "group": "postgres", "extra_groups": []}
        return {"cwd": self.folder, **(as_postgres if os.geteuid() == 0 else {})}

    def is_ready(self):
        asked = subprocess.run(
            [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        )
        return asked.returncode == 0

    def stop(self, how=signal.SIGINT):
        """End it, by default without waiting for clients."""
        super().stop(how)

    def kill(self):
        """`kill -9` of the server and of all processes that it has begun, as a power loss would end them."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        super().kill()
        for child in map(int, children.split()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def url(self, schema="kernelckpt", *, port=None, user="postgres", database="postgres", **options):
        """The URL of a storage on it, perhaps through another port."""
        given = {"schema": schema, "sslmode": "disable", **options}
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}?{query}"


@contextmanager
def postgres_cluster():
    """A server that is not started yet; not in pytest's folders, which other users may not enter."""
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgres_server():
    """One server for all tests, each of which uses schemas of its own."""
    with postgres_cluster() as server:
        server.start()
        yield server
