"""The plug-in of pytest serves whatever runs async tests, and costs nothing where it is not used."""

import subprocess
import sys

import pytest

SCOPE = ["-o", "asyncio_default_fixture_loop_scope=function"]
"""What pytest-asyncio warns of if it is not set."""

AGENT = """
import pytest

async def sleeper(turn):
    return turn.complete(await turn.call("look")) if turn.number == 2 else turn.sleep(60)

{mark}
async def test_an_agent(agent_harness, manual_clock):
    async with agent_harness({{"s": sleeper}}, fakes={{"look": "seen"}}) as harness:
        await harness.submit("s", task_id="s")
        await harness.advance(60)
        assert harness.clock is manual_clock
        assert harness.task("s").state.is_terminal()
        await harness.crash()
        await harness.restart()
        assert (await harness.join("s")).text == "seen"
"""


def run_pytest(folder, text, *options):
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("@pytest.mark.asyncio", SCOPE),
        ("", ["-o", "asyncio_mode=auto", *SCOPE]),
        (
            '@pytest.mark.anyio\n@pytest.mark.parametrize("anyio_backend", ["asyncio"])',
            ["-p", "no:asyncio"],
        ),
    ],
    ids=["pytest-asyncio strict", "pytest-asyncio auto", "anyio"],
)
def test_the_fixtures_serve_whatever_runs_async_tests(tmp_path, mark, options):
    code, output = run_pytest(tmp_path, AGENT.format(mark=mark), *options)
    assert (code, "1 passed" in output) == (0, True), output


def test_where_it_is_not_used_nothing_is_imported(tmp_path):
    text = """
import sys

def test_nothing():
    assert "kernelckpt.testing.pytest_plugin" in sys.modules
    loaded = {name for name in sys.modules if name.startswith("kernelckpt")}
    assert loaded == {"kernelckpt", "kernelckpt.testing", "kernelckpt.testing.pytest_plugin"}
"""
    code, output = run_pytest(tmp_path, text, *SCOPE)
    assert code == 0, output


def test_a_harness_that_is_not_left_fails_its_test(tmp_path):
    text = """
import asyncio

def test_it(agent_harness):
    harness = agent_harness({})
    asyncio.run(harness.__aenter__())
"""
    code, output = run_pytest(tmp_path, text, *SCOPE)
    assert code == 1
    assert "entered and not left" in output
