"""What a `redis:` URL says: where the server is, who asks, and which risks are taken openly."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from kernelckpt.errors import StorageUrlError

_TIMEOUT = 10.0
_OPTIONS = {
    "prefix": r"[A-Za-z0-9._:-]{1,100}",
    "accept_loss": "everysec|all",
    "assume_durable": "0|1",
    "timeout": r"0\.\d*[1-9]|[1-9]\d{0,3}(\.\d{1,3})?",
    "ssl_ca_certs": ".+",
}
"""The options, and what their values look like."""

_HINT = (
    "redis://host:port/db?prefix=NAME; further options: accept_loss=everysec, accept_loss=all, "
    "assume_durable=1, timeout=SECONDS for each answer, and with rediss: ssl_ca_certs=PATH; user and "
    "password may stand in REDIS_USERNAME and REDIS_PASSWORD"
)


class RedisUrl(Struct, frozen=True):
    """A URL taken apart.

    Attributes:
        host: the server.
        port: its port.
        db: the number of the database.
        tls: whether the connection is encrypted.
        prefix: what all keys begin with.
        username: who asks; from the environment when the URL does not say.
        password: likewise.
        accept_loss: "", "everysec" or "all": what may be lost without a refusal.
        assume_durable: whether a server is trusted that does not show its settings.
        timeout: seconds that each answer is waited for; calls that can be repeated are made three times.
        ssl_ca_certs: the file of the authorities that the server's certificate is checked against.
    """

    host: str
    port: int
    db: int
    tls: bool
    prefix: str = "kernelckpt"
    username: str | None = None
    password: str | None = None
    accept_loss: str = ""
    assume_durable: bool = False
    timeout: float = _TIMEOUT
    ssl_ca_certs: str | None = None

    @property
    def name(self) -> str:
        """The URL without credentials."""
        scheme = "rediss" if self.tls else "redis"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/{self.db}?prefix={self.prefix}"

    def __repr__(self) -> str:
        return f"RedisUrl({self.name})"


def parse_redis_url(url: str) -> RedisUrl:
    """Take a URL apart; what it does not say of user and password, the environment does.

    Raises:
        StorageUrlError: it names no server, or an option that does not exist. Credentials are not shown.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 6379
    except ValueError:
        raise _bad("its host or port cannot be read") from None  # it shows what may be of a password
    if parts.fragment:
        raise _bad("'#' is no part of it; write %23")
    if not host:
        raise _bad("it names no host")
    if not re.fullmatch(r"/?|/\d{1,9}", parts.path):
        raise _bad("behind the host stands the number of a database, or nothing")
    options = _options_of(parts)
    return RedisUrl(
        host,
        port,
        int(parts.path.strip("/") or 0),
        parts.scheme == "rediss",
        prefix=options.get("prefix", "kernelckpt"),
        username=_said(parts.username, "REDIS_USERNAME"),
        password=_said(parts.password, "REDIS_PASSWORD"),
        accept_loss=options.get("accept_loss", ""),
        assume_durable=options.get("assume_durable") == "1",
        timeout=float(options.get("timeout", _TIMEOUT)),
        ssl_ca_certs=options.get("ssl_ca_certs"),
    )


def _options_of(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            raise _bad(f"no option {name!r}" if name.isidentifier() else "an option cannot be read")
        if not re.fullmatch(_OPTIONS[name], value):
            raise _bad(f"the option {name} cannot be {value!r}")
    if "ssl_ca_certs" in options and parts.scheme != "rediss":
        raise _bad("ssl_ca_certs is an option of rediss:")
    return options


def _said(part: str | None, variable: str) -> str | None:
    return unquote(part) if part else os.environ.get(variable) or None


def _bad(reason: str) -> StorageUrlError:
    return StorageUrlError(f"the redis: URL cannot be used: {reason}", hint=_HINT)
