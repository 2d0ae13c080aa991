"""Runs a script that keeps its run in files, and dies by SIGKILL at one of the calls that change them.

python tests/faults/killing_run.py 17 examples/chat_agent.py approve
"""

import runpy
import sys
from unittest import mock

from killing_ops import KillingFileOps

from kernelckpt.storage.file import storage as file_storage

if __name__ == "__main__":
    last, *sys.argv = sys.argv[1:]
    ops = KillingFileOps("", last=int(last))
    with mock.patch.object(file_storage, "FileOps", return_value=ops):
        runpy.run_path(sys.argv[0], run_name="__main__")
    print(f"{len(ops.calls)} calls")
