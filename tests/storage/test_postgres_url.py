"""What a PostgreSQL URL is taken for, and that no error shows a password."""

import pytest

from kernelckpt.errors import StorageUrlError
from kernelckpt.storage.postgres.url import PostgresUrl

SECRET = "pa55w0rd"


@pytest.mark.parametrize(
    ("url", "name", "dsn"),
    [
        ("postgresql://host/db", "postgresql://host/db", "postgresql://host/db"),
        ("postgres://host/db", "postgresql://host/db", "postgresql://host/db"),
        ("postgresql:///db", "postgresql:///db", "postgresql:///db"),
        (
            f"postgresql://me:{SECRET}@host:5433/db?schema=x&timeout=3",
            "postgresql://me@host:5433/db?schema=x",
            f"postgresql://me:{SECRET}@host:5433/db",
        ),
        (
            f"postgresql://a,b:1,[::1]:2/db?password={SECRET}&sslmode=require&user=me",
            "postgresql://a,b:1,[::1]:2/db?user=me",
            f"postgresql://a,b:1,[::1]:2/db?password={SECRET}&sslmode=require&user=me",
        ),
        (
            "postgresql:///db?host=/var/run/postgresql&schema=kernelckpt",
            "postgresql:///db?host=/var/run/postgresql",
            "postgresql:///db?host=/var/run/postgresql",
        ),
        ("postgresql://me:a%40b%2F@host/db", "postgresql://me@host/db", "postgresql://me:a%40b%2F@host/db"),
    ],
)
def test_a_url_is_named_without_its_password_and_given_to_the_driver_with_it(url, name, dsn):
    found = PostgresUrl(url)
    assert (found.name, found.dsn) == (name, dsn)


def test_what_is_not_said_is_the_default():
    found = PostgresUrl("postgresql://host/db")
    assert (found.schema, found.timeout) == ("kernelckpt", 20.0)
    assert (found.accept_loss, found.session_pooler) == (False, False)


def test_what_is_said():
    found = PostgresUrl("postgresql://h/d?schema=my%20x&timeout=2.5&accept_loss=1&session_pooler=1")
    assert (found.schema, found.timeout) == ("my x", 2.5)
    assert (found.accept_loss, found.session_pooler) == (True, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql:db", "no host"),
        ("postgresql://h/d?shema=x", "no option 'shema'"),
        (f"postgresql://h/d?pasword={SECRET}", "no option 'pasword'"),
        ("postgresql://h/d?schema=", "schema"),
        ("postgresql://h/d?schema=pg_x", "schema"),
        ("postgresql://h/d?schema=a%00b", "schema"),
        (f"postgresql://h/d?schema={'x' * 64}", "schema"),
        ("postgresql://h/d?timeout=soon", "timeout"),
        ("postgresql://h/d?timeout=inf", "timeout"),
        ("postgresql://h/d?timeout=0", "timeout"),
        ("postgresql://h/d?accept_loss=yes", "accept_loss"),
        ("postgresql://h/d?session_pooler=2", "session_pooler"),
        ("postgresql://h/d?port=x", "port"),
        ("postgresql://h/d?port=70000", "port"),
        ("postgresql://h:99999/d", "port"),
        ("postgresql://a:1,[::1]:70000/d", "port"),
        ("postgresql://h/d?schema", "cannot be read"),
        ("postgresql://h/\ud800", "cannot be read"),
        ("postgresql://[::1/d", "cannot be read"),
        (f"postgresql://me:{SECRET}@x@host/db", "%40"),
        (f"postgresql://me:{SECRET}/x@host/db", "%2F"),
        (f"postgresql://me:{SECRET}#x@host/db", "%23"),
        (f"postgresql://me:x?{SECRET}@host/db", "%3F"),
        (f"postgresql://me:{SECRET}/db", "cannot be read"),
        (f"postgresql://me:1?{SECRET}=x@host/db", "%3F"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_shows_no_password(url, said):
    with pytest.raises(StorageUrlError) as refusal:
        PostgresUrl(url)
    assert said in str(refusal.value)
    assert refusal.value.hint
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
