"""What the owner of a run says of itself, to be shown to others who ask for it."""

from __future__ import annotations

import os
import socket
import time


def holder(purpose: str = "") -> str:
    """This process, on this host, since now; with a purpose if it is not a kernel."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    process = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
    return f"{purpose}, {process}" if purpose else process
