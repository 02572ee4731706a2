"""A Hypothesis strategy for damaged input: flips, deletions, insertions, truncation and repetition."""

from hypothesis import strategies as st

SNIPPETS = (
    *(bytes([byte]) for byte in b'{}[]",:\n\r\0\xff\\'),
    *(b"\\ud800", b"null", b"NaN", b"true", b"1e999", b"-1", b"{'a': 1}", b"''", b"{}", b"[]"),
    *(b"9" * 5_000, b"[" * 20_000, b'{"a":' * 20_000, b'"x": [1],'),
    *(b'"9999-12-31T23:59:59.9999Z"', b'"0001-01-01T00:00:00+14:00"', b"253402300799.9999", b'"/Date(1)/"'),
    b"datetime.datetime(9999, 12, 31, tzinfo=tzutc())",
    *(b"\x1f\x8b", b"\xef\xbb\xbf", b"\xff\xfe"),
)

_positions = st.integers(0, 1 << 20)
_mutation = st.one_of(
    st.tuples(st.just("flip"), _positions, st.integers(1, 255)),
    st.tuples(st.just("delete"), _positions, st.integers(1, 40)),
    st.tuples(st.just("insert"), _positions, st.sampled_from(SNIPPETS)),
    st.tuples(st.just("truncate"), _positions, st.none()),
    st.tuples(st.just("repeat"), _positions, st.integers(1, 200)),
)


def _mutate(data: bytes, mutation: tuple[str, int, object]) -> bytes:
    kind, position, argument = mutation
    position %= len(data) + 1
    before, after = data[:position], data[position:]
    match kind, argument:
        case "flip", int(mask) if after:
            return before + bytes([after[0] ^ mask]) + after[1:]
        case "delete", int(size):
            return before + after[size:]
        case "insert", bytes(snippet):
            return before + snippet + after
        case "truncate", None:
            return before
        case "repeat", int(size):
            return before + after[:size] + after
    return data


@st.composite
def damaged(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> bytes:
    """Draw valid bytes, and damage them once or several times."""
    damaged_data = draw(data)
    for mutation in draw(st.lists(_mutation, min_size=1, max_size=4)):
        damaged_data = _mutate(damaged_data, mutation)
    return damaged_data
