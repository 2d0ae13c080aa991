"""What Redis does in one step: each script compares who owns the run, and where it is, with the write.

Every script answers with a list that begins with a word. Those that begin with `ok` were done; all others
changed nothing. A run that is being deleted has lost its epoch and is none, except for those who delete it.

Commands that Redis refuses when its memory is full come before all others of a script, and scripts that make
room have none: nothing is ever half done.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct


class Script(Struct, frozen=True):
    """A script of Lua, and the digest by which the server knows it."""

    source: str
    sha: str


def _script(*parts: str) -> Script:
    source = "".join(parts)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


# KEYS[1] is the run's hash, always. ARGV[1] and ARGV[2] of what only an owner may do: epoch and token.
_EXISTS = """
local epoch, token, head = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'token', 'head'))
if not epoch then return {'none'} end
"""
_OWNED = _EXISTS + "if epoch ~= ARGV[1] or token ~= ARGV[2] then return {'fenced', epoch} end\n"

LAYOUT = 1
"""The version of the keys and of what they hold."""

CLAIM = _script(
    f"local layout = {LAYOUT}",
    """
local token, ttl, holder, takeover, born, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local new_epoch, new_head = ARGV[7], ARGV[8]
local epoch, head, was = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'head', 'born'))
if was and not epoch then return {'deleted', was} end
if new_epoch and (tonumber(new_epoch) < tonumber(epoch or 0) or tonumber(new_head) < tonumber(head or 0)) then
    return {'behind', epoch or '0', head or '0'}
end
local alive = redis.call('GET', KEYS[2])
if alive and alive ~= token and takeover == '0' then
    return {'owned', redis.call('HGET', KEYS[1], 'holder') or ''}
end
redis.call('SADD', KEYS[3], id)
redis.call('SET', KEYS[4], layout, 'NX')
if not epoch then redis.call('HSET', KEYS[1], 'epoch', '0', 'head', '0', 'born', born) end
if new_epoch then
    redis.call('HSET', KEYS[1], 'epoch', new_epoch, 'head', new_head)
else
    redis.call('HINCRBY', KEYS[1], 'epoch', 1)
end
redis.call('HSET', KEYS[1], 'token', token, 'holder', holder)
redis.call('SET', KEYS[2], token, 'PX', ttl)
return {'ok', unpack(redis.call('HMGET', KEYS[1], 'epoch', 'head', 'born'))}
""",
)
"""KEYS: run, alive, runs, layout."""

RENEW = _script(
    _OWNED,
    """
if redis.call('PEXPIRE', KEYS[2], ARGV[3]) == 0 then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return {'ok'}
""",
)
"""KEYS: run, alive. Nothing is written when memory is full and the key is still there."""

RELEASE = _script(
    _OWNED,
    """
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'token')
return {'ok'}
""",
)
"""KEYS: run, alive."""

LEAVE = _script(
    _EXISTS,
    """
if token ~= ARGV[1] then return {'fenced', epoch} end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'token')
return {'ok'}
""",
)
"""KEYS: run, alive. ARGV: token. Releases what a client was granted without hearing of it, too."""

APPEND = _script(
    _OWNED,
    """
if tonumber(head) + 1 ~= tonumber(ARGV[3]) then return {'not_next', head} end
redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'i', ARGV[4])
redis.call('SET', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[1], 'head', ARGV[3])
return {'ok'}
""",
)
"""KEYS: run, list, body. ARGV: epoch, token, sequence, info, body."""

LIST = _script(_EXISTS, "return {'ok', redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[2])}")
"""KEYS: run, list."""

LIST_NEWEST = _script(_EXISTS, "return {'ok', redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[1])}")
"""KEYS: run, list."""

MISSED = _script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return {'ok'} end
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if not found[1] then return {'none'} end
return {'listed', found[1][2][2]}
""")
"""KEYS: list, body. Why nothing of an entry was read: it is empty there, it is gone, it is lost."""

PART = _script(
    _OWNED,
    """
if redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 then return {'taken'} end
local sizes = redis.call('HGET', KEYS[2], ARGV[4])
local _, count = string.gsub(sizes or '', '%d+', '')
if count ~= tonumber(ARGV[5]) then return {'index', count} end
redis.call('SET', KEYS[4], ARGV[6])
redis.call('HSET', KEYS[2], ARGV[4], (sizes and sizes .. ',' or '') .. string.len(ARGV[6]))
return {'ok'}
""",
)
"""KEYS: run, begun, blobs, part. ARGV: epoch, token, name, field of begun, index, data."""

FINISH = _script(
    _OWNED,
    """
if redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 then return {'taken'} end
local sizes = redis.call('HGET', KEYS[2], ARGV[4])
if not sizes then return {'no_parts'} end
redis.call('HSET', KEYS[3], ARGV[3], epoch .. ':' .. sizes)
redis.call('HDEL', KEYS[2], ARGV[4])
return {'ok', sizes}
""",
)
"""KEYS: run, begun, blobs. ARGV: epoch, token, name, field of begun."""

LIST_HASH = _script(_EXISTS, "return {'ok', redis.call('HGETALL', KEYS[2])}")
"""KEYS: run, any hash of it."""

POST = _script(
    _EXISTS,
    """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return {'ok', 0} end
local order = redis.call('HINCRBY', KEYS[1], 'posted', 1)
redis.call('HSET', KEYS[2], ARGV[1], order .. ':' .. ARGV[2])
return {'ok', 1}
""",
)
"""KEYS: run, inbox."""

_REMOVE = """
local ids, names = 4 + ARGV[3], 4 + ARGV[3] + ARGV[4]
for i = 5, #KEYS, 1000 do redis.call('UNLINK', unpack(KEYS, i, math.min(i + 999, #KEYS))) end
if ids > 4 then redis.call('XDEL', KEYS[2], unpack(ARGV, 5, ids)) end
for i = ids + 1, names do redis.call('HDEL', KEYS[3], ARGV[i]) end
for i = names + 1, #ARGV do redis.call('HDEL', KEYS[4], ARGV[i]) end
return {'ok'}
"""

REMOVE = _script(_OWNED, _REMOVE)
"""KEYS: run, list, blobs, begun, and what holds bytes. ARGV: epoch, token, how many ids and names, all."""

_DELETED = """
local epoch, born = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'born'))
if epoch or born ~= ARGV[1] then return {'none'} end
"""

MARK_DELETED = _script("""
local epoch, born, holder = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'born', 'holder'))
if not born then return {'none'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'owned', holder or ''} end
redis.call('HDEL', KEYS[1], 'epoch')
redis.call('SREM', KEYS[3], ARGV[1])
return {'ok', born}
""")
"""KEYS: run, alive, runs. From now on there is no such run; what it holds is swept, then forgotten."""

SWEEP = _script(_DELETED, _REMOVE)
"""KEYS and ARGV are those of REMOVE, after born and nothing instead of epoch and token."""

FORGET = _script(_DELETED, "redis.call('UNLINK', unpack(KEYS))\nreturn {'ok'}\n")
"""KEYS: all that a run has besides bodies and parts."""
