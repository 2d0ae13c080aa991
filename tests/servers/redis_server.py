"""A Redis server of the tests' own, which keeps what it acknowledges unless told otherwise."""

import itertools
import signal

import pytest
from redis import Redis
from server_process import ServerProcess

DURABLE = {"appendonly": "yes", "appendfsync": "always"}

_prefixes = itertools.count(1)


class RedisServer(ServerProcess):
    """`settings` are those of its configuration file, beside the port and the folder."""

    def __init__(self, folder, **settings):
        super().__init__(folder)
        self.settings = DURABLE | {name.replace("_", "-"): value for name, value in settings.items()}

    def command(self):
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": ""} | self.settings
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        return ["redis-server", *words]

    def is_ready(self):
        try:
            with self.admin() as client:
                return client.ping()
        except OSError:
            return False
        except Exception as error:
            return "NOAUTH" in str(error) or "Authentication" in type(error).__name__

    def admin(self, **options):
        """A client for what only an administrator does."""
        return Redis(port=self.port, socket_timeout=10, **options)

    def url(self, options="", *, prefix=""):
        """A URL of the server; of a store nobody used before unless a prefix is given."""
        return f"redis://127.0.0.1:{self.port}/0?prefix={prefix or f't{next(_prefixes)}'}{options}"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """One server for all tests that leave it running; each takes a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path):
    """A server that a test may change, stop and kill."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
def redis_admin(own_redis):
    """Who may do everything on it."""
    with own_redis.admin() as client:
        yield client
