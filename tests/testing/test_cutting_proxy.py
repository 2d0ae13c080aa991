"""The proxy cuts exactly where it is told to, and passes everything on where it is not."""

import asyncio
from contextlib import suppress

import pytest

from kernelckpt.testing import Cut, CuttingProxy


class Echo:
    """A server that sends back what it gets; `got` has the bytes of each connection."""

    def __init__(self):
        self.got = []
        self.ended = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        number = len(self.got)
        self.got.append(b"")
        try:
            while data := await reader.read(1000):
                self.got[number] += data
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        self.ended.set()
        writer.close()


@pytest.fixture
async def echo():
    async with Echo() as echo:
        yield echo


@pytest.fixture
async def proxy(echo):
    async with CuttingProxy(*echo.address) as proxy:
        yield proxy


async def ask(proxy, *pieces):
    """Send pieces over one connection, each after the answer to the one before; what came back."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    back = b""
    try:
        for piece in pieces:
            writer.write(piece)
            back += await reader.readexactly(len(piece))
    except asyncio.IncompleteReadError as error:
        back += error.partial
    finally:
        writer.transport.abort()
    return back


async def test_without_a_plan_everything_passes(proxy):
    data = bytes(range(256)) * 4000
    assert await ask(proxy, b"one", data, b"two") == b"one" + data + b"two"


@pytest.mark.parametrize("place", [0, 1, 5, 10])
async def test_the_server_gets_exactly_what_was_said(proxy, echo, place):
    proxy.arm(Cut(up=place))
    await ask(proxy, b"0123456789")
    await echo.ended.wait()
    assert proxy.cut.is_set()
    assert echo.got == [b"0123456789"[:place]]
    assert await ask(proxy, b"again") == b"again"


@pytest.mark.parametrize("place", [0, 1, 5, 10])
async def test_the_client_gets_exactly_what_was_said(proxy, echo, place):
    proxy.arm(Cut(down=place))
    assert await ask(proxy, b"0123456789", b"more") == b"0123456789"[:place]
    assert echo.got[0].startswith(b"0123456789")


async def test_bytes_are_counted_over_all_connections(proxy, echo):
    proxy.arm(Cut(up=12))
    assert await ask(proxy, b"0123456789") == b"0123456789"
    await ask(proxy, b"abcdefghij")
    await echo.ended.wait()
    assert echo.got[0] == b"0123456789"
    assert b"ab".startswith(echo.got[1])


async def test_a_pattern_is_found_however_it_was_split(proxy, echo):
    proxy.arm(Cut(pattern=b"COMMIT"))
    assert await ask(proxy, b"a CO", b"MM", b"IT and more", b"more") == b"a COMM"
    await echo.ended.wait()
    assert echo.got == [b"a COMMIT"]


async def test_a_reset_is_one(proxy):
    proxy.arm(Cut(up=3, how="reset"))
    with pytest.raises(ConnectionResetError):
        await ask(proxy, b"0123")


async def test_silence_lasts_until_it_is_mended(proxy, echo):
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"before")
    assert await reader.readexactly(6) == b"before"
    proxy.arm(Cut(up=3, how="silence"))
    silent = asyncio.create_task(ask(proxy, b"0123"))
    await proxy.cut.wait()
    writer.write(b"after")
    await proxy.mend()
    assert await silent == b""
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert echo.got == [b"before", b"012"]
    writer.close()
    assert await ask(proxy, b"again") == b"again"


async def test_what_was_held_back_arrives_when_it_is_let_go(proxy, echo):
    proxy.hold()
    asking = asyncio.create_task(ask(proxy, b"late"))
    await proxy.waiting.wait()
    assert b"".join(echo.got) == b""
    proxy.let_go()
    assert await asking == b"late"


async def test_nobody_listens_until_it_is_mended(proxy):
    assert await ask(proxy, b"one") == b"one"
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await ask(proxy, b"two")
    await proxy.mend()
    assert await ask(proxy, b"three") == b"three"


async def test_a_plan_can_be_called_off(proxy):
    proxy.arm(Cut(up=3))
    proxy.disarm()
    assert await ask(proxy, b"0123456789") == b"0123456789"
    assert not proxy.cut.is_set()
