"""Bugs of encryption, compression and redaction: what can be read, forged, moved or repeated."""

from mutant import Mutant

CODEC, ENTRY, ENVELOPE, FRAME = (f"codec/{name}.py" for name in ("codec", "entry", "envelope", "frame"))

PAYLOADS, RUNS = "tests/codec/test_envelope.py::test_", "tests/log/test_encryption.py::test_"
KERNELS = "tests/checkpoint/test_hook_encryption.py::test_"

SEALING = (
    Mutant(
        name="every container is encrypted with the same key",
        file=ENVELOPE,
        old='os.urandom(SALT_BYTES) if key_id else b""',
        new="bytes(SALT_BYTES)",
        tests=(RUNS + "no_nonce_is_used_twice_with_a_key_whatever_fails",),
    ),
    Mutant(
        name="every frame of a container has the same nonce",
        file=ENVELOPE,
        old='return offset.to_bytes(_NONCE_BYTES, "big")',
        new="return bytes(_NONCE_BYTES)",
        tests=(RUNS + "no_nonce_is_used_twice_with_a_key_whatever_fails",),
    ),
    Mutant(
        name="the encryption is tied to no place",
        file=ENVELOPE,
        old="return place + bytes((encoding,))",
        new='return b""',
        tests=(PAYLOADS + "a_frame_that_is_read_by_itself_is_refused_elsewhere_although_its_digest_fits",),
    ),
    Mutant(
        name="the encryption is not tied to the entry it is in",
        file=FRAME,
        old="return origin + encode_plain((offset, kind, version))",
        new="return encode_plain((offset, kind, version))",
        tests=(PAYLOADS + "a_frame_that_is_read_by_itself_is_refused_elsewhere_although_its_digest_fits",),
    ),
    Mutant(
        name="a reference takes any frame of its place",
        file=FRAME,
        old="if frame_tag(raw.digest, raw.encoding) != tag:",
        new="if False:",
        tests=(PAYLOADS + "another_frame_of_the_same_place_is_refused",),
    ),
    Mutant(
        name="a frame may expand as far as it likes",
        file=ENVELOPE,
        old="<= min(MAX_PAYLOAD_BYTES, MAX_RATIO * len(payload)):",
        new="<= MAX_PAYLOAD_BYTES:",
        tests=(PAYLOADS + "bombs_are_refused",),
    ),
    Mutant(
        name="an entry under another key is none that can be set aside",
        file="log/listing.py",
        old="return Link(info, None, error.message, error)",
        new="raise",
        tests=(RUNS + "what_was_set_aside_under_another_key_stops_nothing_and_goes_when_asked",),
    ),
    Mutant(
        name="the digest of an encrypted container is not keyed",
        file=FRAME,
        old="hashlib.blake2b(header, digest_size=DIGEST_BYTES, key=mac)",
        new="hashlib.blake2b(header, digest_size=DIGEST_BYTES)",
        tests=(
            PAYLOADS
            + "frames_that_are_moved_left_out_repeated_or_added_are_refused_although_all_digests_fit",
        ),
    ),
    Mutant(
        name="the tag of metadata is not compared",
        file=ENTRY,
        old='if meta.tag != (_tag(meta, origin, mac) if mac else b""):',
        new="if False:",
        tests=(RUNS + "metadata_that_was_changed_and_sealed_anew_is_refused",),
    ),
    Mutant(
        name="the tag of metadata is not keyed",
        file=ENTRY,
        old="digest_size=DIGEST_BYTES, key=mac)",
        new="digest_size=DIGEST_BYTES)",
        tests=(KERNELS + "a_start_with_wrong_keys_is_refused_and_changes_nothing",),
    ),
    Mutant(
        name="plaintext is read although there are keys",
        file=CODEC,
        old="if self.keys is not None and not self.keys.accept_plaintext:",
        new="if False:",
        tests=(RUNS + "one_plain_entry_put_among_encrypted_ones_is_refused",),
    ),
    Mutant(
        name="a plain frame in an encrypted container counts",
        file=CODEC,
        old="if bool(encoding & SEALED) is not bool(key_id):",
        new="if False:",
        tests=(
            PAYLOADS
            + "frames_that_are_moved_left_out_repeated_or_added_are_refused_although_all_digests_fit",
        ),
        equivalent="the keyed digest of its container does not fit then: this only says so sooner",
    ),
    Mutant(
        name="a blob whose key is misnamed in its header is a matter of keys",
        file=FRAME,
        old='elif (value[-1] if version > 1 else "") != self._key_id:',
        new="elif False:",
        tests=(RUNS + "a_blob_whose_key_is_misnamed_is_damage",),
    ),
    Mutant(
        name="a new key is used only after a restart",
        file=CODEC,
        old="key_id = self.keys.active",
        new="key_id = self.keys.ids[0]",
        tests=(RUNS + "a_rotation_at_any_time_loses_nothing",),
    ),
    Mutant(
        name="a base that shall need the active key only still refers to what an old one encrypted",
        file="log/base_writer.py",
        old="if place.sequence <= self._sparse.up_to:",
        new="if False:",
        tests=(RUNS + "a_base_with_its_items_copied_needs_the_active_key_only",),
    ),
    Mutant(
        name="what was compressed is opened whatever size it says",
        file=ENVELOPE,
        old="if not 0 <= size <=",
        new="if size < 0 and size <=",
        tests=(PAYLOADS + "a_bomb_that_says_its_size_is_refused_before_it_is_opened",),
    ),
    Mutant(
        name="a key ring shows its keys",
        file="codec/key_ring.py",
        old="{', '.join(self._keys)}; active",
        new="{self._keys}; active",
        tests=("tests/codec/test_key_ring.py::test_a_ring_shows_no_key_and_is_not_copied",),
    ),
)
