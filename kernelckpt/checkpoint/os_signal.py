"""Operating-system signals: which ones may be taken without taking them from somebody else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager

import anyio


def default_checkpoint_signals() -> tuple[signal.Signals, ...]:
    """SIGUSR1, where there is one."""
    return tuple(found for name in ("SIGUSR1",) if (found := getattr(signal, name, None)) is not None)


def default_stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM and SIGINT."""
    return signal.SIGTERM, signal.SIGINT


def unclaimed(signals: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Those nobody handles. Only the main thread may take signals; elsewhere: none.

    `asyncio.run` handles SIGINT itself: it cancels the main task, which leaves the scheduler cleanly.
    """
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        return []
    nobody = {signal.SIG_DFL, signal.default_int_handler}
    return [signum for signum in signals if signal.getsignal(signum) in nobody]


class SignalTap:
    """Takes signals from when it is opened until it is closed."""

    def __init__(self) -> None:
        self._receiver: AbstractContextManager[AsyncIterator[signal.Signals]] | None = None
        self._signals: AsyncIterator[signal.Signals] | None = None

    def open(self, signals: Iterable[signal.Signals]) -> bool:
        """Take these signals; False when there is none to take."""
        taken = list(signals)
        if not taken:
            return False
        self._receiver = anyio.open_signal_receiver(*taken)
        self._signals = self._receiver.__enter__()
        return True

    def __aiter__(self) -> AsyncIterator[signal.Signals]:
        assert self._signals is not None
        return self._signals

    def close(self) -> None:
        """Give the signals back."""
        if self._receiver is not None:
            self._receiver.__exit__(None, None, None)
            self._receiver = None


def die_of(signum: signal.Signals) -> None:
    """Let a signal do what it would have done if nobody had taken it."""
    signal.raise_signal(signum)
