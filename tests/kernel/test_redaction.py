"""What a redaction finds and replaces, and what it refuses to be told."""

import copy
import json
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt import Approval, Message, Redaction, ToolCall
from kernelckpt.errors import InvalidValueError, UsageError
from kernelckpt.kernel.redaction.redactor import Redactor
from kernelckpt.model.effect import Effect
from kernelckpt.model.kernel import Value

KEY = "sk-live-0123456789"
CARD = r"\b(?:\d[ -]?){13,16}\b"
KNOWN = Redaction({"API_KEY": KEY}, {"card": CARD})
MARK = "[redacted API_KEY]"


def test_a_value_and_a_pattern_give_way_to_their_names():
    text = f"use {KEY} and 4111 1111 1111 1111, not 42"
    assert KNOWN.text(text) == f"use {MARK} and [redacted card], not 42"
    assert KNOWN.text(KEY * 2) == MARK * 2
    assert KNOWN.name_in(text) == "API_KEY"


def test_a_text_without_secrets_stays_the_same_object():
    text = "sk-live-01234 is only half of it"
    assert KNOWN.text(text) is text
    assert KNOWN.name_in(text) is None
    assert Redaction().text(text) is text


def test_a_value_is_found_as_json_and_repr_escape_it_and_without_its_white_space():
    secret = '"quoted"\\\n\tzürich\n'
    redaction = Redaction({"pem": secret})
    shown = [
        json.dumps({"k": secret.strip()}),
        json.dumps([secret.strip()], ensure_ascii=False),
        str(KeyError(secret.strip())),
        f"<{secret.strip()}>",
    ]
    assert [redaction.text(text).count("[redacted pem]") for text in shown] == [1, 1, 1, 1]
    assert not any("zürich" in redaction.text(text) or "quoted" in redaction.text(text) for text in shown)


def test_values_come_before_patterns_and_the_longer_of_two_before_the_shorter():
    redaction = Redaction({"short": "abcdefgh", "long": "abcdefgh-ijkl"}, {"after": "=[a-z]{3}"})
    assert redaction.text("key=abcdefgh-ijkl") == "key=[redacted long]"
    assert redaction.text("key=abcdefgh-ij") == "key=[redacted short]-ij"
    assert redaction.text("key=abc") == "key[redacted after]"


def test_what_stands_for_a_hit_is_never_part_of_another():
    redaction = Redaction({"A": "secret-one", "B": "12345678"}, {"assigned": r"=\S+", "start": r"^\d{4}"})
    for text in ("=secret-one", "secret-one1234", "x=secret-one=y secret-one12345678 12345678=1"):
        once = redaction.text(text)
        assert redaction.text(once) is once
        assert "secret-one" not in once
        assert "12345678" not in once


@pytest.mark.parametrize(
    ("values", "patterns", "text"),
    [
        ({"key": "1234567"}, {}, "fewer than 8 characters"),
        ({"key": "  1234567  "}, {}, "fewer than 8 characters"),
        ({"key": None}, {}, "a NoneType"),
        ({"my key": KEY}, {}, "no identifier"),
        ({1: KEY}, {}, "no identifier"),
        ({}, {"a-b": "x"}, "no identifier"),
        ({"key": KEY}, {"key": "x{9}"}, "names a value and a pattern"),
        ({}, {"any": "x*"}, "empty text"),
        ({}, {"edge": r"\b"}, "empty text"),
        ({}, {"broken": "(?:"}, "no regular expression"),
        ({}, {"grouped": "(a|b){8}"}, "captures"),
        ({}, {"number": 5}, "a int"),
        ({"key": "redacted"}, {}, "takes the place of a hit"),
        ({"SECRETARY_1": "SECRETARY"}, {}, "takes the place of a hit"),
        ({}, {"word": r"\w{8,}"}, "takes the place of a hit"),
    ],
)
def test_what_cannot_work_is_refused_without_showing_it(values, patterns, text):
    with pytest.raises(UsageError, match=text) as caught:
        Redaction(values, patterns)
    assert "1234567" not in str(caught.value)


def test_a_redaction_shows_names_only_and_cannot_be_changed_or_written():
    assert repr(KNOWN) == "Redaction(API_KEY, card)"
    assert KNOWN.names == ("API_KEY", "card")
    with pytest.raises(AttributeError):
        KNOWN.names = ()
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="holds secrets"):
            write(KNOWN)


def test_records_lose_their_secrets_in_texts_keys_and_bytes_and_keep_the_rest():
    redactor = Redactor(KNOWN)
    calls = [ToolCall("c1", "pay", {KEY: [KEY, 7, None, {"deep": KEY}], "raw": KEY.encode() + b"\xff"})]
    kept = redactor.record(Message.assistant(f"I pay with {KEY}", calls))
    assert kept.text == f"I pay with {MARK}"
    expected = {MARK: [MARK, 7, None, {"deep": MARK}], "raw": MARK.encode() + b"\xff"}
    assert kept.tool_calls == (ToolCall("c1", "pay", expected),)


def test_a_record_without_secrets_stays_the_same_object():
    record = Approval("t", "k", "prompt", {"a": [1, {"b": b"\x93 not msgpack"}]})
    assert Redactor(KNOWN).record(record) is record
    assert Redactor(None).record(record) is record


def test_encoded_values_are_walked_through_however_deep_they_lie():
    packed = msgspec.msgpack.encode({"key": KEY, "packed": msgspec.msgpack.encode([KEY, "x"])})
    kept = msgspec.msgpack.decode(Redactor(KNOWN).record(Value(packed)).data)
    assert kept["key"] == MARK
    assert msgspec.msgpack.decode(kept["packed"]) == [MARK, "x"]
    effect = Effect("f", KEY.encode(), arguments=packed, outcome=packed)
    kept = Redactor(KNOWN).record(effect)
    assert kept.digest == effect.digest, "an identity is not rewritten"
    assert KEY.encode() not in kept.arguments + kept.outcome


def test_keys_that_differ_in_their_secrets_only_do_not_take_each_others_place():
    redaction = Redaction({}, {"token": r"tok-\d{4}"})
    kept = Redactor(redaction).shown({"tok-1111": 1, "tok-2222": 2, "[redacted token]": 3, "other": 4})
    assert sorted(kept.values()) == [1, 2, 3, 4]
    assert kept["[redacted token]"] == 3
    assert not any("tok-" in key for key in kept)


def test_admitting_refuses_secrets_in_identities_and_names_the_place():
    redactor = Redactor(KNOWN)
    with pytest.raises(
        InvalidValueError, match=r"reply.tool_calls\[1\].name: holds the secret API_KEY"
    ) as caught:
        redactor.admitted(Message.assistant("", [ToolCall("a", "b"), ToolCall("c", f"x{KEY}")]), "reply")
    assert caught.value.path == "reply.tool_calls[1].name"
    assert KEY not in str(caught.value)


def test_listeners_are_shown_no_secret_whatever_the_draft_is():
    redactor = Redactor(KNOWN)
    plain = {"a": 1}
    assert redactor.shown(plain) is plain
    assert redactor.shown(KEY) == MARK
    assert redactor.shown(Message.user(KEY))["content"] == MARK
    assert redactor.shown(KeyError(KEY)) == f"KeyError('{MARK}')"

    class Broken:
        def __repr__(self):
            raise ValueError(KEY)

    broken = Broken()
    assert redactor.shown(broken) is broken


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_drafts_of_any_kind_of_bytes_lose_their_secrets(kind):
    draft = kind(f"use {KEY}".encode())
    assert Redactor(KNOWN).shown(draft) == f"use {MARK}".encode()
    assert Redactor(KNOWN).shown({"part": [draft]}) == {"part": [f"use {MARK}".encode()]}
    plain = kind(b"nothing")
    assert Redactor(KNOWN).shown(plain) is plain


def test_a_pattern_that_cannot_stand_beside_others_is_refused():
    with pytest.raises(UsageError, match="no regular expression") as caught:
        Redaction(patterns={"key": r"(?i)sk-[a-z]+"})
    assert "(?i:" in caught.value.hint
    assert Redaction(patterns={"key": r"(?i:sk-[a-z]+)"}).text("SK-LIVE") == "[redacted key]"


def test_errors_are_raised_without_secrets_and_without_the_causes_that_hold_them():
    with pytest.raises(UsageError) as caught, Redactor(KNOWN).errors():
        try:
            raise ValueError(KEY)
        except ValueError as error:
            raise UsageError("it failed", hint=f"not {KEY}", name=KEY) from error
    assert (caught.value.hint, caught.value.name) == (f"not {MARK}", MARK)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


LETTERS = st.characters(blacklist_characters="[]", blacklist_categories=("Cs",))
SECRETS = st.lists(
    st.text(LETTERS, min_size=8, max_size=14).filter(lambda text: len(text.strip()) >= 8),
    min_size=1,
    max_size=4,
    unique=True,
).filter(lambda found: not any(secret.strip() in "[redacted S_0]" for secret in found))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)


@st.composite
def laced(draw):
    """Secrets, and plain data that holds them here and there."""
    secrets = draw(SECRETS)
    found = st.sampled_from([secret.strip() for secret in secrets])
    mixed = st.builds(lambda a, b, c: a + b + c, st.text(max_size=3), found, st.text(max_size=3))
    texts = mixed | st.text(max_size=8)
    leaves = LEAVES | texts | texts.map(str.encode)
    data = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
    )
    return secrets, draw(data)


@given(laced())
def test_any_plain_data_loses_each_value_keeps_the_rest_and_is_done_after_once(case):
    secrets, data = case
    redaction = Redaction({f"S_{number}": secret for number, secret in enumerate(secrets)})
    redactor = Redactor(redaction)
    packed = msgspec.msgpack.encode(data)
    kept = redactor.encoded(packed, "data")
    assert redactor.encoded(kept, "data") is kept
    plain = msgspec.msgpack.decode(kept)
    for text in texts_in(plain):
        assert not any(secret.strip() in text for secret in secrets)
    _assert_same_but_for_secrets(data, plain, redaction)


def texts_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "surrogateescape")
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *texts_in(item))


def _assert_same_but_for_secrets(old, new, redaction):
    assert type(old) is type(new)
    if isinstance(old, list):
        assert len(old) == len(new)
        for before, after in zip(old, new, strict=True):
            _assert_same_but_for_secrets(before, after, redaction)
    elif isinstance(old, dict):
        assert len(old) == len(new)
        for (key, before), (new_key, after) in zip(old.items(), new.items(), strict=True):
            assert new_key.startswith(redaction.text(key))
            _assert_same_but_for_secrets(before, after, redaction)
    elif isinstance(old, str):
        assert new == redaction.text(old)
    elif not isinstance(old, bytes):
        assert new == old
