"""Whatever was done to a kernel: another one goes on from its snapshot, and says the same of itself."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_kit import kernel_of, settle
from test_any_history import World, actor, note, operations

from kernelckpt import KernelSnapshot, RestoreFrom


class Copied(World):
    """A kernel, and at its end the kernels that go on from its snapshot."""

    async def run(self, steps):
        await super().run([step for step in steps if step != ("restart",)])
        first = self.kernel.snapshot()
        for _ in range(2):
            again = KernelSnapshot.from_json(first.to_json())
            assert again == first
            assert await self._copy_of(again) == first

    async def _copy_of(self, snapshot):
        """What a kernel says that began at a snapshot, once it has done what it can."""
        common = {"tools": [note], "clock": self.clock, "deps": [], "max_concurrency": 2}
        async with kernel_of({"actor": actor}, hooks=[RestoreFrom(snapshot)], **common) as kernel:
            await settle()
            assert kernel.restored.differences == ()
            kernel.request_stop(0)
            return kernel.snapshot()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(operations, max_size=30))
def test_a_kernel_can_go_on_from_any_snapshot(steps):
    asyncio.run(Copied().run([("submit", "a", 1000), ("submit", "b", 1000), *steps]))
