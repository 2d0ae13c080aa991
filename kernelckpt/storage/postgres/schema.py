"""The schema of a PostgreSQL storage: found, or made by whoever comes first."""

from __future__ import annotations

import asyncpg  # type: ignore[import-untyped] # it comes without types

from kernelckpt.errors import StorageUnavailableError, UnsupportedVersionError
from kernelckpt.storage.postgres import sql
from kernelckpt.storage.postgres.line import Line, PostgresServer

LAYOUT = 1


async def prepare_schema(server: PostgresServer, line: Line) -> None:
    """Make the tables unless they are there.

    Raises:
        UnsupportedVersionError: they were made by a newer version.
        StorageUnavailableError: they are not ours, or not safe.
    """
    try:
        rows = await line.fetch(sql.LAYOUT)
    except asyncpg.UndefinedTableError:
        await _create(line, server.url.schema)
        rows = await line.fetch(sql.LAYOUT)
    if len(rows) != 1:
        raise StorageUnavailableError(
            f"{server.name}: the table kernelckpt is not one of ours", hint="name another schema by ?schema="
        )
    if (found := rows[0]["version"]) > LAYOUT:
        raise UnsupportedVersionError(
            f"{server.name}: layout {found} of a newer version",
            hint="use a newer kernelckpt",
            found=found,
            supported=LAYOUT,
        )
    if unlogged := await line.fetch(sql.UNLOGGED):
        server.refuse_loss(f"tables unlogged: {', '.join(name for (name,) in unlogged)}")


async def _create(line: Line, schema: str) -> None:
    """Of those that come at once one makes the tables; the others wait for it."""
    async with line.transaction():
        await line.fetch(sql.LOCK_SCHEMA, schema)
        if not await line.fetch(sql.SCHEMA_EXISTS, schema):
            await line.execute('CREATE SCHEMA "{}"'.format(schema.replace('"', '""')))
        (there,) = await line.fetch(sql.TABLES_EXIST)
        if not there["exist"]:
            await line.execute(sql.TABLES)
