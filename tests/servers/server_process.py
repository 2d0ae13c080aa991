"""A server of the tests' own: on a loopback port nobody uses, its data in a folder, killed at will."""

import os
import secrets
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 30.0


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(20_000, 32_000)[WORKER % WORKERS :: WORKERS]
"""Of this process and no other worker. The system gives none of them to anybody while a server is down."""


def free_port():
    """A loopback port that nobody listens on."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ServerProcess:
    """One server process; a subclass says how it is begun, and when it is ready.

    Attributes:
        port: where it listens; the same after it was started again.
        folder: what it keeps there outlives the process.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.process = None

    def command(self):
        """The command line that runs it in the foreground."""
        raise NotImplementedError

    def options(self):
        """Further arguments of `subprocess.Popen`."""
        return {}

    def is_ready(self):
        """Whether it answers; by default whether it listens."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def start(self):
        """Start it, and return once it is ready."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.options()
            )
        give_up = time.monotonic() + PATIENCE
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise RuntimeError(f"{self.command()[0]}: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        """End it by a signal, and return once it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self):
        """`kill -9`."""
        self.stop(signal.SIGKILL)
