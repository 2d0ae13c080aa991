"""The short form of `kill9.py`; the long one is a part of `make nightly`."""

from fault_script import run_script


async def test_a_few_kills_lose_nothing_and_repeat_nothing():
    code, out = await run_script("kill9.py", "--kills", "8", "--agents", "200", "--seed", "11")
    assert code == 0, out
    assert "8/8 kills" in out
    assert "0 faults after 8 kills" in out
