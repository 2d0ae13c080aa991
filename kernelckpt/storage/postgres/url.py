"""What a PostgreSQL URL says: where the server is, the schema, and which risks are taken."""

from __future__ import annotations

import re
from math import isfinite
from typing import NoReturn
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from kernelckpt.errors import StorageUrlError

_OURS = {"schema": "kernelckpt", "timeout": "20", "accept_loss": "0", "session_pooler": "0"}
"""The options that are not the driver's, with their defaults."""

_SHOWN = ("host", "port", "user", "dbname", "database", "service")
_DRIVERS = (
    *_SHOWN,
    "application_name",
    "gsslib",
    "krbsrvname",
    "options",
    "passfile",
    "password",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
)
_ENCODE = "in user and password write %40 for '@', %2F for '/', %3A for ':', %3F for '?', %23 for '#'"
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:\d*)?")


class PostgresUrl:
    """A URL taken apart. Its representation shows nothing, for the URL may hold a password.

    Attributes:
        dsn: what the driver is given, with the password.
        name: the URL without credentials and without what is not needed to tell one store from another.
        schema: where our tables are.
        timeout: seconds that the server may take for one answer.
        accept_loss: whether a server is used that may lose what it acknowledged.
        session_pooler: whether a pooler between keeps a session for each connection.
    """

    def __init__(self, url: str) -> None:
        """Take the URL apart; no error shows more of it than the name of an option.

        Raises:
            StorageUrlError: the driver could not connect to what it says, or an option is unknown or off.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            url.encode()  # a lone surrogate is no part of one
        except ValueError:
            _refuse("the URL cannot be read", _ENCODE)
        ports = options.get("port", "").split(",")
        user, host = _credentials_apart(url, parts.netloc, url.partition("://")[2][len(parts.netloc) :])
        ports += [one.rpartition("]")[2].partition(":")[2] for one in host.split(",")]
        if not all(map(_is_port, ports)):
            _refuse("port is no number, or too large", "write postgresql://user@host:port/database")
        for name in options:
            if name not in _OURS and name not in _DRIVERS:
                known = ", ".join((*_OURS, *sorted(_DRIVERS)))
                _refuse(f"no option {name!r}", f"the options are: {known}")
        given = {name: options.pop(name, default) for name, default in _OURS.items()}
        self.schema = _schema(given["schema"])
        self.timeout = _seconds(given["timeout"])
        self.accept_loss = _flag("accept_loss", given["accept_loss"])
        self.session_pooler = _flag("session_pooler", given["session_pooler"])
        place = f"{host}{parts.path}"
        shown = {name: options[name] for name in _SHOWN if name in options}
        if self.schema != _OURS["schema"]:
            shown["schema"] = self.schema
        self.name = f"postgresql://{user + '@' if user else ''}{place}{_query(shown)}"
        self.dsn = f"postgresql://{parts.netloc}{parts.path}{_query(options)}"


def _credentials_apart(url: str, netloc: str, rest: str) -> tuple[str, str]:
    """The user and the hosts; a URL of which a piece could be one of a password is refused unseen."""
    credentials, _, host = netloc.rpartition("@")
    hosts_read = all(_HOST.fullmatch(one) for one in host.split(","))
    if "@" in credentials + rest or "#" in rest or not hosts_read:
        _refuse("the URL cannot be read", _ENCODE)
    if "://" not in url:
        _refuse("no host follows", "write postgresql://user@host:port/database")
    return credentials.partition(":")[0], host


def _is_port(text: str) -> bool:
    return not text or (re.fullmatch(r"[0-9]{1,5}", text) is not None and int(text) <= 65535)


def _query(options: dict[str, str]) -> str:
    return "?" + urlencode(options, quote_via=quote, safe="/") if options else ""


def _schema(text: str) -> str:
    if not text or "\0" in text or text.startswith("pg_") or len(text.encode()) > 63:
        _refuse("schema names no schema", "give it 1 to 63 bytes, not beginning with pg_")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not isfinite(seconds) or seconds < 0.01:
        _refuse("timeout is no number of seconds", "write timeout=20")
    return seconds


def _flag(name: str, text: str) -> bool:
    if text not in {"0", "1"}:
        _refuse(f"{name} is neither 0 nor 1", f"write {name}=1")
    return text == "1"


def _refuse(reason: str, hint: str) -> NoReturn:
    raise StorageUrlError(f"postgresql: {reason}", hint=hint) from None
