"""From a URL to a bucket whose server is known to honour conditions."""

from __future__ import annotations

import re
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from kernelckpt.errors import StorageUnavailableError, StorageUrlError
from kernelckpt.storage.objects.client import ObjectClient
from kernelckpt.storage.objects.process import start_threads
from kernelckpt.storage.objects.record import RUN, Record, encode

if TYPE_CHECKING:
    from obstore import UpdateVersion
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
    """Open the bucket that a URL names, and try whether its server honours conditions.

    Raises:
        StorageUrlError: the URL names no bucket, or has an option that does not exist.
        StorageUnavailableError: the bucket cannot be used, or its server ignores conditions.
    """
    scheme, bucket, prefix, options = parse(url)
    name = name_of(scheme, bucket, prefix, options)
    start_threads(name)
    try:
        once, patient = (_store(scheme, bucket, options, retries) for retries in (0, _RETRIES))
    except (BaseError, ValueError) as error:
        raise StorageUrlError(f"{name}: {str(error).partition('Debug')[0].strip()}") from None
    client = ObjectClient(name, f"{prefix}/" if prefix else "", once, patient, _notes(options))
    await _probe_listing(client)
    await _probe_conditions(client)
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


async def _probe_listing(client: ObjectClient) -> None:
    """Refuse a server that cannot list from a key on: the end of a log would be missed."""
    folder = f"{client.prefix}probe/{token_hex(8)}"
    keys = [f"{folder}/{number}" for number in range(3)]
    for key in keys:
        await client.overwrite(key, b"probe")
    listed = [found.key for found in await client.page(folder, keys[0])]
    await client.delete(keys)
    if listed != keys[1:]:
        raise StorageUnavailableError(
            f"{client.name}: of 2 objects after a key the server lists {len(listed)}",
            hint="use a server that does, as docs/storage.md lists them",
        )


async def _probe_conditions(client: ObjectClient) -> None:
    """Refuse a server that ignores the conditions on which ownership rests."""
    key = f"{client.prefix}probe/{token_hex(8)}"
    first, second, third = (encode(Record(RUN, sequence=number)) for number in range(3))
    made = await client.put_settled(key, first, "create")
    try:
        if made.version is None:
            raise _ignores(client, "it refused to create an object that did not exist")
        read = await client.get(key)
        if read is None or read.version != made.version:
            raise _ignores(client, "ETag (it differs between writing an object and reading it)")
        if (await client.put_settled(key, second, "create")).version is not None:
            raise _ignores(client, "If-None-Match: * (an object was created over another)")
        if (await client.put_settled(key, second, _another(made.version))).version is not None:
            raise _ignores(client, "If-Match (an object was replaced that was another)")
        if (await client.put_settled(key, third, made.version)).version is None:
            raise _ignores(client, "If-Match (an object was not replaced although it was the one)")
        if (await client.put_settled(key, second, made.version)).version is not None:
            raise _ignores(client, "If-Match (an object was replaced twice by the same condition)")
    finally:
        await client.delete([key])


def _another(version: UpdateVersion) -> UpdateVersion:
    """A version that never was."""
    changed: UpdateVersion = {"e_tag": f'"{"0" * 32}"'} if version.get("e_tag") else {}
    if version.get("version") is not None:
        changed["version"] = "1"
    return changed


def _ignores(client: ObjectClient, what: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"{client.name}: the server does not honour conditional writes: {what}",
        hint="two owners could write one run; use a server that does, as docs/storage.md lists them",
    )
