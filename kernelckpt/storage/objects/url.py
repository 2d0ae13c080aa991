"""From a URL to a bucket that can be looked into."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from kernelckpt.errors import StorageUrlError
from kernelckpt.storage.objects.client import ObjectClient
from kernelckpt.storage.objects.probe import PROBES
from kernelckpt.storage.objects.process import start_threads

if TYPE_CHECKING:
    from obstore.store import GCSConfig

    from kernelckpt.storage.objects.client import Store

OPTIONS = {
    "s3": ("endpoint", "region", "virtual_hosted", "timeout"),
    "gs": ("endpoint", "timeout"),
    "az": ("endpoint", "account", "timeout"),
}
"""What may stand behind the `?` of a URL."""

_VALUES = {"endpoint": r"https?://[^@?#\s]+", "virtual_hosted": "0|1"}
"""What values of options look like, where any text would not do."""

_TIMEOUT = 30.0
_LONGEST = 86_400.0
_CONNECT_SECONDS = 5
_RETRIES = 5


async def connect(url: str) -> ObjectClient:
    """Open the bucket that a URL names, and see that it can be looked into; nothing is written.

    Raises:
        StorageUrlError: the URL names no bucket, or has an option that does not exist.
        StorageUnavailableError: the bucket cannot be used.
    """
    scheme, bucket, prefix, options = parse(url)
    name = name_of(scheme, bucket, prefix, options)
    start_threads(name)
    try:
        once, patient = (_store(scheme, bucket, options, retries) for retries in (0, _RETRIES))
    except (BaseError, ValueError) as error:
        raise StorageUrlError(f"{name}: {str(error).partition('Debug')[0].strip()}") from None
    client = ObjectClient(name, f"{prefix}/" if prefix else "", once, patient, _notes(options))
    await client.page(f"{client.prefix}{PROBES}")
    return client


def parse(url: str) -> tuple[str, str, str, dict[str, str]]:
    """Scheme, bucket, prefix and options of a URL.

    Raises:
        StorageUrlError: it names no bucket, or has an option that does not exist.
    """
    scheme = url.partition(":")[0]
    hint = f"write {scheme}://bucket/prefix?option=value; the options are: {', '.join(OPTIONS[scheme])}"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise StorageUrlError(f"{scheme}: the URL cannot be read", hint=hint) from None
    where = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc:
        raise StorageUrlError(f"{where}: credentials come from the environment, not from the URL", hint=hint)
    prefix = unquote(parts.path).strip("/")
    if not parts.netloc or parts.fragment or any(part in {"", ".", ".."} for part in prefix.split("/")[1:]):
        raise StorageUrlError(f"{where} names no bucket", hint=hint)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for option, value in options.items():
        if option not in OPTIONS[scheme]:
            raise StorageUrlError(f"{where}: no option {option!r}", hint=hint)
        if not re.fullmatch(wanted := _VALUES.get(option, ".+"), value):
            raise StorageUrlError(f"{where}: {option} does not match {wanted}", hint=hint)
    if not 0 < _seconds(options) <= _LONGEST:
        message = f"{where}: timeout={options['timeout']!r} is no number of seconds"
        raise StorageUrlError(message, hint=hint)
    return scheme, parts.netloc, prefix, options


def _seconds(options: dict[str, str]) -> float:
    try:
        return float(options.get("timeout", _TIMEOUT))
    except ValueError:
        return 0.0


def name_of(scheme: str, bucket: str, prefix: str, options: dict[str, str]) -> str:
    """The URL with whatever tells one bucket from another of that name."""
    shown = {option: text for option, text in options.items() if option in {"endpoint", "account"}}
    query = "?" + urlencode(shown, safe="/:") if shown else ""
    return f"{scheme}://{bucket}/{prefix}".rstrip("/") + query


def _store(scheme: str, bucket: str, options: dict[str, str], retries: int) -> Store:
    endpoint = options.get("endpoint")
    seconds = timedelta(seconds=_seconds(options))
    common: dict[str, Any] = {
        "client_options": {
            "timeout": seconds,
            "connect_timeout": min(seconds, timedelta(seconds=_CONNECT_SECONDS)),
            "allow_http": (endpoint or "").startswith("http://"),
        },
        "retry_config": {"max_retries": retries, "retry_timeout": seconds},
    }
    if scheme == "gs":
        config: GCSConfig = {"base_url": endpoint} if endpoint else {}
        return GCSStore(bucket, config=config, **common)
    if endpoint:
        common["endpoint"] = endpoint
    if scheme == "az":
        if "account" in options:
            common["account_name"] = options["account"]
        return AzureStore(bucket, **common)
    if "region" in options:
        common["region"] = options["region"]
    hosted = options.get("virtual_hosted", "0" if endpoint else "1") == "1"
    return S3Store(bucket, virtual_hosted_style_request=hosted, **common)


def _notes(options: dict[str, str]) -> list[str]:
    endpoint = options.get("endpoint", "")
    notes = [f"{endpoint} cannot be asked how durable it is: emulators forget"] if endpoint else []
    if endpoint.startswith("http://"):
        notes.append(f"what is written to {endpoint} travels unencrypted")
    return notes
