"""What every test is watched for, blocking calls on the event loop; and what a run says at its end."""

from collections import Counter

import pytest
from blockbuster import blockbuster_ctx

WATCHED = ["kernelckpt.kernel", "kernelckpt.log", "kernelckpt.storage", "kernelckpt.checkpoint"]


NEEDS = {"servers": "make test-servers", "root": "make test-root"}
"""What runs the tests of each marker that are left out of the usual run."""

SERVERS = {
    "postgres_server": "PostgreSQL",
    "redis_server": "Redis",
    "object_server": "an S3 server (moto)",
    "azurite_server": "an Azure blob server (Azurite)",
}
"""The fixtures that start servers."""


class LeftOut:
    """Says at the end what was left out, and which servers tests ran over."""

    def __init__(self):
        self.left_out = Counter()
        self.ran_over = Counter()

    def pytest_deselected(self, items):
        self.left_out.update(
            marker for item in items for marker in NEEDS if item.get_closest_marker(marker) is not None
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.left_out |= Counter(getattr(node, "workeroutput", {}).get("left_out"))  # each saw all tests

    def pytest_sessionfinish(self, session):
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["left_out"] = dict(self.left_out)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.ran_over.update(name for key, name in report.user_properties if key == "server")

    def pytest_terminal_summary(self, terminalreporter):
        for server, count in sorted(self.ran_over.items()):
            terminalreporter.write_line(f"PASSED OVER {server}: {count} tests")
        for marker, count in sorted(self.left_out.items()):
            terminalreporter.write_line(f"LEFT OUT: {count} tests of {marker!r}; {NEEDS[marker]} runs them")


def sendable(data):
    """The same data, with halves of characters written out."""
    match data:
        case str():
            return data.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {sendable(key): sendable(value) for key, value in data.items()}
        case list() | tuple():
            return type(data)(map(sendable, data))
    return data


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable():
    """What a test logs and fails with may hold halves of characters, which no worker can send."""
    return sendable((yield))


def pytest_configure(config):
    config.addinivalue_line("markers", "may_block: the test or its program blocks the loop on purpose")
    config.pluginmanager.register(LeftOut())
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import HealthCheck, settings  # slow to load: not where nobody asks for it

        settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def no_blocking_calls(request):
    """Turn a blocking call made on the loop, by a watched module or whatever it calls, into a failure."""
    if request.node.get_closest_marker("may_block") is not None:
        yield
        return
    with blockbuster_ctx(WATCHED) as watch:
        # the driver looks for password files and certificates whenever it connects
        watch.functions["os.stat"].can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        yield


@pytest.fixture(autouse=True)
def servers_are_named(request):
    """Note in the test's report which servers it used."""
    for fixture in SERVERS.keys() & set(request.fixturenames):
        request.node.user_properties.append(("server", SERVERS[fixture]))
