"""What every test is watched for: no blocking call on the event loop from the package's own code."""

import pytest
from blockbuster import blockbuster_ctx

WATCHED = ["kernelckpt.kernel", "kernelckpt.log", "kernelckpt.storage", "kernelckpt.checkpoint"]


def pytest_configure(config):
    config.addinivalue_line("markers", "may_block: the test or its program blocks the loop on purpose")
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
    with blockbuster_ctx(WATCHED):
        yield
