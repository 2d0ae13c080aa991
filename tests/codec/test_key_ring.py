"""A key ring holds keys, says which one writes, and never shows one."""

import base64
import copy
import pickle
import sys

import pytest

from kernelckpt import KeyRing
from kernelckpt.errors import UsageError

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
TEXT = f"one:{base64.b64encode(ONE).decode()}\ntwo:{base64.urlsafe_b64encode(TWO).decode()}\n"


def test_the_first_key_writes_unless_another_is_named():
    assert KeyRing({"one": ONE, "two": TWO}).active == "one"
    ring = KeyRing({"one": ONE, "two": TWO}, active="two")
    assert (ring.active, ring.ids, ring.get("one"), ring.get("three")) == ("two", ("one", "two"), ONE, None)


def test_a_key_is_added_and_then_used():
    ring = KeyRing({"one": ONE})
    ring.add("two", TWO)
    assert ring.active == "one"
    ring.use("two")
    ring.add("two", TWO)
    assert ring.active == "two"
    with pytest.raises(UsageError, match="another key 'two'"):
        ring.add("two", ONE)
    with pytest.raises(UsageError, match="no key 'three'"):
        ring.use("three")


def test_a_ring_takes_in_another_one_whole_or_not_at_all():
    ring, newer = KeyRing({"one": ONE}), KeyRing({"two": TWO, "one": ONE})
    ring.update(newer)
    assert (ring.active, ring.ids) == ("two", ("one", "two"))
    with pytest.raises(UsageError, match="another key 'one'"):
        ring.update(KeyRing({"three": TWO, "one": TWO}))
    assert (ring.active, ring.ids, ring.get("one")) == ("two", ("one", "two"), ONE)


@pytest.mark.parametrize("separator", ["\n", ",", " ", " ,\n"])
def test_a_ring_is_read_from_a_text(separator):
    ring = KeyRing.parse(separator.join(TEXT.split()))
    assert (ring.active, ring.get("one"), ring.get("two")) == ("one", ONE, TWO)
    assert not ring.accept_plaintext
    assert KeyRing.parse(TEXT, accept_plaintext=True).accept_plaintext


SECRET = base64.b64encode(b"a secret of 32 bytes, no less...").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"a:{SECRET[:-4]}",
        f"a:{SECRET}!",
        f"a b:{SECRET}",
        f":{SECRET}",
        f"{'x' * 33}:{SECRET}",
        f"a:{SECRET},a:{SECRET}",
    ],
)
def test_what_is_no_ring_is_refused_without_repeating_it(text):
    with pytest.raises(UsageError) as caught:
        KeyRing.parse(text)
    assert caught.value.hint
    assert SECRET[:8] not in str(caught.value)


def test_a_key_where_an_id_belongs_is_not_repeated():
    text = base64.b64encode(b"a secret of 32 bytes, no less...").decode()
    ring = KeyRing({"one": ONE})
    for attempt in (
        lambda: KeyRing.parse(f"{text}:prod"),
        lambda: KeyRing.parse(f"one:{base64.b64encode(ONE).decode()},{text}:2026"),
        lambda: KeyRing({text: ONE}),
        lambda: KeyRing({ONE: "one"}),
        lambda: KeyRing({"one": ONE}, active=text),
        lambda: ring.add(ONE, "one"),
        lambda: ring.use(ONE),
        lambda: ring.use(text),
    ):
        with pytest.raises(UsageError, match="no id of a key") as caught:
            attempt()
        assert text[:8] not in str(caught.value)
        assert repr(ONE)[2:20] not in str(caught.value)


@pytest.mark.parametrize("key", [b"", ONE[:31], ONE + b"x", "x" * 32, bytearray(ONE), None])
def test_what_is_no_key_is_refused_without_repeating_it(key):
    with pytest.raises(UsageError, match="key 'one' is") as caught:
        KeyRing({"one": key})
    assert "xxxx" not in str(caught.value)


@pytest.mark.parametrize("key_id", ["", "a b", "ä", "a/b", "a:b", "x" * 33, None, 1])
def test_what_is_no_id_is_refused(key_id):
    with pytest.raises(UsageError, match="no id of a key"):
        KeyRing({key_id: ONE})


def test_a_ring_needs_a_key():
    with pytest.raises(UsageError, match="without keys"):
        KeyRing({})


def test_a_new_key_is_new():
    assert len({KeyRing.generate() for _ in range(9)}) == 9
    KeyRing({"a": KeyRing.generate()})


def test_a_ring_shows_no_key_and_is_not_copied():
    ring = KeyRing({"one": ONE, "two": TWO})
    assert repr(ring) == str(ring) == "KeyRing(one, two; active one)"
    for away in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            away(ring)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError) as caught:
        KeyRing({"one": ONE})
    assert "kernelckpt[encryption]" in caught.value.hint
