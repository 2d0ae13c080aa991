"""Conversations that a provider's form can say, in the shape in which they are read again."""

from hypothesis import strategies as st

from kernelckpt import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart, ToolSchema
from kernelckpt.adapters import Usage

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
said = text.filter(bool)
names = st.from_regex(r"\A[a-zA-Z0-9_-]{1,12}\Z")
media_types = st.sampled_from(["image/png", "image/jpeg", "image/svg+xml"])
base64 = st.text("ABCDabcd0123+/", max_size=8)
urls = st.builds("https://x.test/{}".format, names)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(text, json_values, max_size=3)
calls = st.lists(st.builds(ToolCall, names, names, objects), max_size=3).map(tuple)


def images(details):
    with_data = st.builds(
        lambda data, kind, detail: Image(None, data, kind, detail), base64, media_types, details
    )
    return with_data | st.builds(lambda url, detail: Image(url=url, detail=detail), urls, details)


def contents(texts, *others):
    """Text, or parts; a single piece of text is text."""
    parts = st.lists(st.one_of(st.builds(Text, texts), *others), min_size=1, max_size=3).map(tuple)
    return texts | parts.filter(lambda found: len(found) > 1 or not isinstance(found[0], Text))


def results(is_error):
    return st.builds(
        lambda call_id, output, failed: Message.tool([ToolResultPart(call_id, output, failed)]),
        names,
        text,
        is_error,
    )


openai_messages = st.lists(
    st.one_of(
        st.builds(Message, st.just(Role.SYSTEM), contents(text)),
        st.builds(
            Message,
            st.just(Role.USER),
            contents(
                text,
                images(st.sampled_from([None, "auto", "low", "high"])),
                st.builds(Audio, base64, st.sampled_from(["audio/wav", "audio/mpeg"])),
            ),
        ),
        st.builds(Message, st.just(Role.ASSISTANT), contents(text), calls),
        results(st.just(False)),
    ),
    max_size=5,
)

anthropic_messages = st.tuples(
    st.lists(st.builds(Message.system, said), max_size=2),
    st.lists(
        st.one_of(
            st.builds(Message, st.just(Role.USER), contents(said, images(st.none()))),
            st.builds(Message, st.just(Role.ASSISTANT), contents(said), calls),
            st.builds(Message, st.just(Role.ASSISTANT), st.just(""), calls.filter(bool)),
            results(st.booleans()),
        ),
        max_size=5,
    ),
).map(lambda found: [*found[0], *found[1]])

tools = st.lists(
    st.builds(ToolSchema, names, text, objects), max_size=3, unique_by=lambda schema: schema.name
)
counts = st.integers(0, 10**9)


@st.composite
def usages(draw, *, cache_writes, audio):
    """Usage whose numbers do not contradict each other."""
    cached, plain, output = draw(counts), draw(counts), draw(counts)
    written = draw(counts) if cache_writes else 0
    sound = draw(counts) if audio else 0
    return Usage(
        cached + plain + written + sound,
        output,
        cached,
        written,
        draw(st.integers(0, written)),
        sound,
        draw(st.integers(0, output)),
    )


def pieces(whole):
    """Ways to cut a text into pieces."""
    cuts = st.lists(st.integers(0, len(whole)), max_size=3).map(sorted)
    return cuts.map(lambda at: [whole[a:b] for a, b in zip([0, *at], [*at, len(whole)], strict=True)])
