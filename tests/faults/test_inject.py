"""A part of `inject_faults.py`: real system calls of the shipped process fail, lie, hang and kill."""

import re

import pytest
from fault_script import run_script

pytestmark = pytest.mark.root


async def test_whatever_a_system_call_does_nothing_acknowledged_is_lost():
    code, out = await run_script("inject_faults.py", "--every", "12")
    print("\n" + out)
    assert code == 0, out
    assert int(re.search(r"(\d+) injections", out)[1]) > 50
