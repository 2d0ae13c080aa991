"""The storage conformance suite: what every backend must pass, ours and third parties' alike."""

from __future__ import annotations

from kernelckpt.testing.conformance_blob import BlobConformance
from kernelckpt.testing.conformance_cancel import CancelConformance
from kernelckpt.testing.conformance_claim import CopyClaimConformance
from kernelckpt.testing.conformance_entry import EntryConformance
from kernelckpt.testing.conformance_inbox import InboxConformance
from kernelckpt.testing.conformance_large import LargeConformance
from kernelckpt.testing.conformance_overtaken import OvertakenConformance
from kernelckpt.testing.conformance_owner import OwnerConformance
from kernelckpt.testing.conformance_run import RunConformance


class StorageConformance(
    EntryConformance,
    OwnerConformance,
    OvertakenConformance,
    CopyClaimConformance,
    BlobConformance,
    InboxConformance,
    RunConformance,
    CancelConformance,
    LargeConformance,
):
    """Subclass it in a test module, with one fixture, and run it by pytest-asyncio.

    The fixture `storage_factory` returns an async function without arguments. Each call opens another
    client of one store, as another process would; the store is empty when a test begins.

        class TestMyStorage(StorageConformance):
            @pytest.fixture
            def storage_factory(self, tmp_path):
                async def open_client():
                    return MyStorage(tmp_path)

                return open_client

    What takes long on a slow store can be made smaller, openly, by class attributes: see
    `LargeConformance`. A storage that several processes can open passes `ProcessConformance` too, and one
    that is reached over a connection `NetworkConformance`.
    """
