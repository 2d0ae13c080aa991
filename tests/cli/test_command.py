"""What all commands have in common: help, exit codes, errors, interruption, closed pipes, encodings."""

import inspect
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from cli_kit import RUN, call, make, run_command

import kernelckpt
from kernelckpt import errors
from kernelckpt.cli.app import COMMANDS
from kernelckpt.cli.display import cost_text, counted, shown, shown_lines, size_text, time_text
from kernelckpt.cli.exit_code import ExitCode, exit_code_of


def test_help_names_the_commands_and_the_exit_codes():
    done = call("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert f"\n  {name}" in done.out
    for code in ExitCode:
        assert f"\n    {code.value:<3}  " in done.out
    assert "KERNELCKPT_STORAGE" in done.out


@pytest.mark.parametrize("name", list(COMMANDS)[:-1])
def test_each_command_has_help(name):
    done = call(name, "--help")
    assert done.code == 0
    assert "--json" in done.out
    assert "file:./state" in done.out


def test_help_does_not_wait_for_what_it_does_not_need():
    check = (
        "import sys, kernelckpt.cli.app as app\n"
        "try: app.app(['--help'])\n"
        "except SystemExit: pass\n"
        "late = [name for name in sys.modules if name.startswith(('rich.', 'kernelckpt.demo'))]\n"
        "assert not late, late"
    )
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_without_arguments():
    done = call()
    assert done.code == 2
    assert "Usage:" in done.out + done.err


def test_the_version():
    assert call("--version").out == f"{kernelckpt.__version__}\n"
    assert run_command("--version").out == f"{kernelckpt.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["runs", "--limit", "-1"],
        ["runs", "--limit", "many"],
        ["runs", "--storage", "nowhere"],
        ["runs", "--storage", "ftp://x"],
        ["log", "x", "--nonsense"],
    ],
)
def test_wrong_usage(nothing, arguments):
    done = call(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_a_folder_that_is_not_ours(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path, tmp_path / "file"):
        done = call("runs", "-s", f"file:{folder}")
        assert done.code == 6
        assert "hint: " in done.err


def test_each_command_is_told_by_the_first_words_of_its_help():
    shown = call("--help").out.split("Commands:")[1].splitlines()[1:]
    assert [line.split()[0] for line in shown] == list(COMMANDS)
    for name, words in COMMANDS.items():
        assert call(name, "--help").out.splitlines()[2].strip() == words


CODES = {
    errors.UsageError: ExitCode.USAGE,
    errors.UnknownTaskError: ExitCode.NOT_FOUND,
    errors.StorageUrlError: ExitCode.USAGE,
    errors.NotFoundError: ExitCode.NOT_FOUND,
    errors.OwnershipError: ExitCode.OWNED,
    errors.FormatError: ExitCode.CORRUPT,
    errors.EncryptionError: ExitCode.KEYS,
    errors.StorageError: ExitCode.UNAVAILABLE,
    errors.CheckpointFailedError: ExitCode.UNAVAILABLE,
    errors.KernelCkptError: ExitCode.FINDINGS,
}
ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.KernelCkptError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_its_exit_code(kind):
    nearest = next(parent for parent in kind.__mro__ if parent in CODES)
    assert exit_code_of(kind("x")) is CODES[nearest]


INTERRUPTED = """
import anyio
from kernelckpt.cli import main
from kernelckpt.storage import MemoryStorage

async def list_runs(self):
    print("ready", flush=True)
    await anyio.sleep_forever()

MemoryStorage.list_runs = list_runs
import sys
from contextlib import suppress
sys.argv = ["kernelckpt", "runs", "--storage", "memory:"]
main()
"""


def test_an_interruption_is_quiet():
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"interrupted\n"


@pytest.mark.parametrize("arguments", [["show", RUN], ["log", RUN], ["runs", "--json"]])
def test_nobody_reads_the_output(url, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "kernelckpt", *arguments, "--storage", url]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == b""


def test_an_output_without_unicode(nothing):
    make(nothing, "名")
    latin = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "KERNELCKPT_STORAGE": nothing}
    assert "\n\\u540d " in run_command("runs", **latin).out
    assert run_command("runs", "--json", **latin).data["runs"][0]["run"] == "名"
    failed = run_command("log", "字", **latin)
    assert (failed.code, failed.out) == (3, "")
    assert "\\u5b57" in failed.err


def test_long_and_wide_texts(nothing):
    name = "名前" * 300
    make(nothing, name)
    assert name in call("runs", "-s", nothing).out
    assert call("show", name, "-s", nothing).out.startswith(f"run {name}, ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcode 名前", "plain ünïcode 名前"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_text_that_cannot_play_tricks(text, expected):
    assert shown(text) == expected


def test_how_values_look():
    assert shown("abcdef", 4) == "abc…"
    assert shown_lines("a\n\x1bb\r\nc") == "a\n\\x1bb\nc"
    assert [size_text(size) for size in (0, 1023, 1024, 1536 * 1024, 2**60)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
        "1048576.0 TiB",
    ]
    assert [time_text(wall) for wall in (None, 0, 2**62)] == ["-", "-", f"{2**62} ms"]
    assert [cost_text(cost) for cost in (0, 1, 1_500_000, 2_000_000_000)] == ["0", "0.000001", "1.5", "2,000"]
    assert [counted(n, "entry", "entries") for n in (0, 1, 2000)] == ["0 entries", "1 entry", "2,000 entries"]


def test_progress_is_shown_where_somebody_watches(url):
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "kernelckpt", "verify", RUN, "--storage", url]
    env = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, env=env) as process:
        os.close(follower)
        out, _ = process.communicate(timeout=60)
    seen = b""
    with suppress(OSError):  # the other side is closed
        while piece := os.read(leader, 4096):
            seen += piece
    os.close(leader)
    assert process.returncode == 0
    assert b"verifying" in seen
    assert b"verifying" not in out
    assert out.endswith(b"nothing wrong\n")
