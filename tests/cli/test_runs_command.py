"""`kernelckpt runs`."""

from cli_kit import RUN, SHOWN, call, make


def test_each_run_with_its_newest_checkpoint(url):
    make(url, "another")
    done = call("runs", "--storage", url)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["RUN", "CHECKPOINT", "SAVED", "TURNS", "NOTE"]
    assert [line.split()[0] for line in lines[1:]] == ["another", SHOWN]
    assert "\x1b" not in done.out


def test_json(url):
    done = call("runs", "-s", url, "--json")
    assert set(done.data) == {"storage", "runs", "more"}
    assert done.data["more"] == 0
    (run,) = done.data["runs"]
    assert set(run) == {"run", "sequence", "wall_ms", "turn", "note"}
    assert run["run"] == RUN
    assert run["sequence"] > 0
    assert run["turn"] == 3
    assert run["note"] == ""


def test_the_default_storage_and_the_environment(url):
    assert SHOWN in call("runs").out
    assert "no runs" in call("runs", env={"KERNELCKPT_STORAGE": "memory:"}).out
    assert SHOWN in call("runs", "-s", url, env={"KERNELCKPT_STORAGE": "memory:"}).out


def test_a_limit_says_what_it_leaves_out(url):
    for name in ("a", "b"):
        make(url, name)
    done = call("runs", "-n", "1")
    assert "... and 2 more runs; --limit 0 shows all" in done.out
    assert len(done.out.splitlines()) == 3
    assert call("runs", "-n", "1", "--json").data["more"] == 2
    assert len(call("runs", "-n", "0", "--json").data["runs"]) == 3


def test_no_runs(nothing, tmp_path):
    done = call("runs", "-s", nothing)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("no runs in file:")
    assert call("runs", "-s", nothing, "--json").data["runs"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint(url):
    import anyio

    from kernelckpt import FileStorage

    async def acquire():
        async with FileStorage(url.removeprefix("file:")) as storage:
            await storage.acquire("empty", "a test")

    anyio.run(acquire)
    run = next(run for run in call("runs", "--json").data["runs"] if run["run"] == "empty")
    assert (run["sequence"], run["wall_ms"]) == (0, None)
    assert any(line.split() == ["empty", "-", "-", "0"] for line in call("runs").out.splitlines())
    assert "no checkpoint yet" in call("log", "empty").out
    assert call("show", "empty").code == 3
    verified = call("verify", "empty")
    assert verified.code == 0
    assert "nothing was saved yet" in verified.out
