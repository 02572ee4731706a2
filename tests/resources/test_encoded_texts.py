"""Encoded texts: the same values, in a form that depends on the values only."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.tables.declared import TEXTS
from resources.encoded_texts import decode_texts, encode_texts, get_sortable

PLAIN = pa.schema([pa.field("text", pa.string()), pa.field("number", pa.int64())])
ENCODED = pa.schema([pa.field("text", TEXTS), pa.field("number", pa.int64())])

texts = st.lists(st.sampled_from([None, "", "a", "b", "é"]), max_size=8)


def table(values: list[str | None]) -> pa.Table:
    return pa.table([pa.array(values, pa.string()), pa.array(range(len(values)), pa.int64())], schema=PLAIN)


def encode_otherwise(rows: pa.Table, unused: list[str]) -> pa.Table:
    """The same values over a dictionary with another order and unused texts."""
    dictionary = pa.array(sorted({*unused, *rows["text"].drop_null().to_pylist()}), pa.string())
    numbers = pa.array(
        [dictionary.to_pylist().index(t) if t is not None else None for t in rows["text"].to_pylist()]
    )
    column = pa.DictionaryArray.from_arrays(numbers.cast(pa.int32()), dictionary)
    return pa.table([column, rows["number"]], schema=ENCODED)


@given(texts, texts, st.lists(st.sampled_from(["", "c", "z"])))
@settings(deadline=None, max_examples=60)
def test_equal_values_give_equal_tables(
    first: list[str | None], second: list[str | None], unused: list[str]
) -> None:
    rows = table([*first, *second])
    expected = encode_texts(rows, ENCODED)
    chunked = pa.concat_tables([encode_otherwise(table(first), unused), encode_otherwise(table(second), [])])
    chunked = chunked.set_column(1, ENCODED.field("number"), rows["number"])
    assert encode_texts(chunked, ENCODED).equals(expected)
    assert decode_texts(expected).equals(rows)
    dictionary = expected["text"].chunk(0).dictionary.to_pylist()
    assert dictionary == list(dict.fromkeys(text for text in [*first, *second] if text is not None))


@given(texts)
@settings(deadline=None, max_examples=30)
def test_sortable_numbers_have_the_order_of_the_texts(values: list[str | None]) -> None:
    column = encode_otherwise(table(values), ["c"])["text"].chunk(0)
    order = pa.compute.sort_indices(get_sortable(column))
    assert column.take(order).to_pylist() == sorted(
        values, key=lambda text: (text is None, (text or "").encode())
    )
