"""Empty storages of every kind, by URL: those that need a server are asked for with `-m servers`."""

from secrets import token_hex

import pytest

SERVERS = {
    "postgres": lambda server: server.url(f"t{token_hex(8)}"),
    "objects": lambda server: server.url(server.make_bucket()),
    "redis": lambda server: server.url(),
}
"""How to come by the URL of an empty store on each server; credentials are in the environment."""

FIXTURES = {"postgres": "postgres_server", "objects": "object_server", "redis": "redis_server"}
FOLDERS = {"file": "file:{}/state", "sqlite": "sqlite:{}/state.db"}
KINDS = (*FOLDERS, *(pytest.param(kind, marks=pytest.mark.servers) for kind in SERVERS))


class Store:
    """One empty store.

    Attributes:
        kind: what it is.
        url: opens it, in this process and in others.
        server: what runs it; None where nothing does.
    """

    def __init__(self, kind, url, server=None):
        self.kind = kind
        self.url = url
        self.server = server


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    kind = request.param
    if kind in FOLDERS:
        return Store(kind, FOLDERS[kind].format(tmp_path))
    server = request.getfixturevalue(FIXTURES[kind])
    return Store(kind, SERVERS[kind](server), server)
