"""The SQL of the PostgreSQL storage: its tables, and one statement for each thing that is done with them."""

from __future__ import annotations

PIECE_BYTES = 1024 * 1024
"""The largest row of a blob: what is sent and read at once, so that the event loop is not held for long."""

TABLES = """
CREATE TABLE kernelckpt (version integer NOT NULL);
CREATE TABLE runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name bytea NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    head bigint NOT NULL DEFAULT 0,
    holder bytea NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX runs_name ON runs (sha256(name));
CREATE TABLE entries (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    sequence bigint NOT NULL,
    epoch bigint NOT NULL,
    meta bytea NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run, sequence)
);
CREATE TABLE blobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    epoch bigint NOT NULL,
    name bytea NOT NULL,
    parts integer NOT NULL,
    size bigint NOT NULL,
    whole boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX blobs_written ON blobs (run, sha256(name), epoch);
CREATE UNIQUE INDEX blobs_whole ON blobs (run, sha256(name)) WHERE whole;
CREATE TABLE pieces (
    blob bigint NOT NULL REFERENCES blobs ON DELETE CASCADE,
    start bigint NOT NULL,
    part integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (blob, start, part)
);
CREATE TABLE inbox (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    number bigint GENERATED ALWAYS AS IDENTITY,
    name bytea NOT NULL,
    call uuid NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (run, number)
);
CREATE UNIQUE INDEX inbox_name ON inbox (run, sha256(name));
ALTER TABLE entries ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE pieces ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE inbox ALTER COLUMN data SET STORAGE EXTERNAL;
INSERT INTO kernelckpt VALUES (1);
"""
"""Names of any length and any bytes are found by their digest. `runs` leaves room in its pages, for every
append updates it; EXTERNAL keeps data as it is, so that a range of it is read without the rest. The numbers
of the inbox are given in order: what was acknowledged before has a lower one, and whoever sees the later one
sees it too."""

_KEY = "hashtextextended(concat_ws(' ', 'kernelckpt', current_schema(), $1::bigint, $2::bigint), 0)"
"""The advisory lock of an epoch of a run, which the owner's session holds. Each epoch has its own: who
takes a run over need not wait for the session that is fenced."""

SESSION = """
SELECT set_config('search_path', quote_ident($1), false),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END,
        false),
    set_config('application_name',
        coalesce(nullif(current_setting('application_name'), ''), 'kernelckpt'), false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('statement_timeout', $2, false),
    set_config('idle_in_transaction_session_timeout', $2, false),
    set_config('idle_session_timeout', '0', false),
    set_config('tcp_keepalives_idle', '10', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false),
    set_config('tcp_user_timeout', '25000', false),
    set_config('client_connection_check_interval', '10s', false),
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    pg_is_in_recovery() AS standby,
    pg_backend_pid() AS pid,
    (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS started
"""
"""A client host that is gone is noticed within 25 seconds: 10 of silence, three probes of 5."""

END_SESSION = (
    "SELECT pg_terminate_backend(pid, $3) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"
)

LAYOUT = "SELECT version FROM kernelckpt"
LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(hashtextextended('kernelckpt schema ' || $1, 0))"
SCHEMA_EXISTS = "SELECT FROM pg_namespace WHERE nspname = $1"
TABLES_EXIST = "SELECT to_regclass('kernelckpt') IS NOT NULL AS exist"
UNLOGGED = """
SELECT relname::text FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND relkind = 'r' AND relpersistence <> 'p'
    AND relname IN ('runs', 'entries', 'blobs', 'pieces', 'inbox')
"""

LOCK_RUN = "SELECT id, epoch, head, holder FROM runs WHERE sha256(name) = sha256($1) FOR NO KEY UPDATE"
"""Against all who compare the epoch; a part of a blob may be under way, of an owner that will not go on."""
CREATE_RUN = "INSERT INTO runs (name) VALUES ($1) ON CONFLICT (sha256(name)) DO NOTHING"
PROBE = f"SELECT pg_try_advisory_xact_lock({_KEY}) AS free"
HOLD = f"SELECT pg_advisory_lock({_KEY})"
UNHOLD = f"SELECT pg_advisory_unlock({_KEY})"
UNHOLD_ALL = "SELECT pg_advisory_unlock_all()"
GRANT = """
WITH left_over AS (
    SELECT id FROM blobs WHERE run = $1 AND NOT whole FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM blobs USING left_over WHERE blobs.id = left_over.id
)
UPDATE runs SET epoch = $2, head = $3, holder = $4 WHERE id = $1
"""
OWNER = "SELECT epoch, head FROM runs WHERE id = $1"
SYNC = "SELECT pg_logical_emit_message(true, 'kernelckpt', '')"
"""A commit of nothing. A session that is ended while it waits for its standbys leaves a commit that others
see and no standby has; once a later commit is acknowledged, so is that one."""

APPEND = """
WITH moved AS (
    UPDATE runs SET head = $3 WHERE id = $1 AND epoch = $2 AND head = $3::bigint - 1 RETURNING id
)
INSERT INTO entries (run, sequence, epoch, meta, data) SELECT id, $3, $2, $4, $5 FROM moved
RETURNING sequence
"""
_LIST = """
SELECT e.* FROM runs LEFT JOIN LATERAL (
    SELECT epoch, sequence, octet_length(data) AS size, meta FROM entries
    WHERE run = runs.id AND sequence > $2 ORDER BY sequence {order} LIMIT $3
) e ON true
WHERE sha256(name) = sha256($1) ORDER BY sequence
"""
LIST_ENTRIES = _LIST.format(order="ASC")
LIST_NEWEST = _LIST.format(order="DESC")
READ = """
SELECT substr(data, $4::integer + 1, $5::integer) AS piece
FROM entries JOIN runs ON run = runs.id
WHERE sha256(name) = sha256($1) AND entries.epoch = $2 AND sequence = $3
"""

WRITE_PART = """
WITH owner AS (
    SELECT id FROM runs WHERE id = $1 AND epoch = $2 AND NOT EXISTS (
        SELECT FROM blobs WHERE run = $1 AND sha256(name) = sha256($3) AND whole)
), begun AS (
    INSERT INTO blobs (run, epoch, name, parts, size)
    SELECT id, $2, $3, 1, octet_length($5::bytea) FROM owner WHERE $4 = 0
    ON CONFLICT (run, sha256(name), epoch) DO NOTHING RETURNING id, 0::bigint AS start
), grown AS (
    UPDATE blobs SET parts = parts + 1, size = size + octet_length($5::bytea) FROM owner
    WHERE run = owner.id AND epoch = $2 AND sha256(name) = sha256($3) AND NOT whole
        AND parts = $4 AND $4 > 0
    RETURNING blobs.id, size - octet_length($5::bytea) AS start
)
INSERT INTO pieces (blob, start, part, data)
SELECT id, start, $4, $5 FROM (TABLE begun UNION ALL TABLE grown) AS blob
RETURNING blob
"""
"""The epoch is looked at, not locked: appends need not wait for eight megabytes. What a stale owner adds
belongs to a blob which nobody can finish."""
ADD_PIECE = """
WITH grown AS (
    UPDATE blobs SET size = size + octet_length($3::bytea) WHERE id = $1
    RETURNING id, size - octet_length($3::bytea) AS start
)
INSERT INTO pieces (blob, start, part, data) SELECT id, start, $2, $3 FROM grown
"""

FINISH_BLOB = """
WITH owner AS (SELECT id FROM runs WHERE id = $1 AND epoch = $2 FOR SHARE)
UPDATE blobs SET whole = true FROM owner
WHERE run = owner.id AND epoch = $2 AND sha256(name) = sha256($3) AND NOT whole
RETURNING size
"""
BLOB = """
SELECT runs.epoch = $2 AS owned, parts, size, whole, blobs.epoch = $2 AS ours FROM runs
LEFT JOIN blobs ON run = runs.id AND sha256(blobs.name) = sha256($3) AND (whole OR blobs.epoch = $2)
WHERE runs.id = $1 ORDER BY whole DESC
"""
READ_BLOB = f"""
SELECT size, substr(data, (greatest($3::bigint, start) - start)::integer + 1,
    greatest(0, least($4, start + octet_length(data)) - greatest($3, start))::integer) AS piece
FROM runs JOIN blobs ON run = runs.id
LEFT JOIN pieces ON blob = blobs.id
    AND start > $3::bigint - {PIECE_BYTES} AND start < $4 AND start + octet_length(data) > $3
WHERE sha256(runs.name) = sha256($1) AND sha256(blobs.name) = sha256($2) AND whole ORDER BY start
"""  # noqa: S608 - a number of ours
LIST_BLOBS = """
SELECT blobs.name, size FROM runs LEFT JOIN blobs ON run = runs.id AND whole
WHERE sha256(runs.name) = sha256($1)
"""
DELETE = """
WITH owner AS (
    SELECT id FROM runs WHERE id = $1 AND epoch = $2 FOR SHARE
), gone AS (
    DELETE FROM entries USING owner WHERE run = owner.id AND sequence = ANY ($3::bigint[])
), left_over AS (
    SELECT blobs.id FROM blobs JOIN owner ON run = owner.id
    WHERE NOT whole AND epoch < $2 FOR UPDATE OF blobs SKIP LOCKED
), blobs_gone AS (
    DELETE FROM blobs USING owner WHERE run = owner.id AND (
        sha256(name) = ANY (SELECT sha256(given) FROM unnest($4::bytea[]) AS given)
        OR blobs.id IN (TABLE left_over))
)
SELECT id FROM owner
"""

POST = """
WITH run AS (
    SELECT id FROM runs WHERE sha256(name) = sha256($1)
), added AS (
    INSERT INTO inbox (run, name, data, call) SELECT id, $2, $3, $4 FROM run
    ON CONFLICT (run, sha256(name)) DO NOTHING RETURNING number
)
SELECT EXISTS (TABLE added) AS added FROM run
"""
POSTED_BY = """
SELECT FROM inbox JOIN runs ON run = runs.id
WHERE sha256(runs.name) = sha256($1) AND sha256(inbox.name) = sha256($2) AND call = $3
"""
POSTED = """
SELECT inbox.name, number, data FROM runs LEFT JOIN inbox ON run = runs.id
WHERE sha256(runs.name) = sha256($1) ORDER BY number
"""
DELETE_POSTED = """
WITH found AS (
    SELECT id FROM runs WHERE sha256(name) = sha256($1)
), gone AS (
    DELETE FROM inbox USING found WHERE run = found.id
        AND sha256(name) = ANY (SELECT sha256(given) FROM unnest($2::bytea[]) AS given)
)
SELECT id FROM found
"""
LIST_RUNS = "SELECT name FROM runs"
DELETE_RUN = "DELETE FROM runs WHERE id = $1"
