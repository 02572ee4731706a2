"""Row content: which differences between rows count and which do not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.framework.row_content import (
    compute_content_version,
    conform,
    count_changed_rows,
    deduplicate,
    stamp_changes,
)
from assets.tables import ARCHIVE_FILES, INSTANT, REJECTED_EXECUTIONS, Column, Table

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

THINGS = Table(
    name="things",
    meaning="A table with a column of each type.",
    grain="thing",
    key=("name",),
    columns=(
        Column("name", pa.string(), "its name", required=True),
        Column("text", pa.string(), "a text"),
        Column("number", pa.int64(), "a number", "number"),
        Column("flag", pa.bool_(), "a flag"),
        Column("moment", INSTANT, "a moment", "UTC"),
        Column("recorded_at", INSTANT, "when it was recorded", "UTC", required=True),
    ),
)

values = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(max_size=4),
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "flag": st.none() | st.booleans(),
        "moment": st.none()
        | st.integers(-(10**12), 10**13).map(lambda ms: EPOCH + timedelta(milliseconds=ms)),
    }
)
things = st.dictionaries(st.text(max_size=3), values, max_size=6).map(
    lambda named: [{"name": name, **rest, "recorded_at": NOW} for name, rest in named.items()]
)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=THINGS.schema)


def version(rows: list[dict[str, Any]]) -> str:
    return compute_content_version(THINGS, table(rows))


class TestContentVersion:
    @given(things, st.randoms(use_true_random=False), st.data())
    @settings(deadline=None, max_examples=25)
    def test_does_not_depend_on_order_chunks_slices_or_dictionaries(
        self,
        rows: list[dict[str, Any]],
        random: Any,
        data: st.DataObject,
    ) -> None:
        expected = version(rows)
        shuffled = random.sample(rows, len(rows))
        cut = data.draw(st.integers(0, len(rows)))
        chunked = pa.concat_tables([table(shuffled[:cut]), table(shuffled[cut:])])
        sliced = table([*shuffled[:1], *shuffled, *shuffled[:1]]).slice(min(1, len(rows)), len(rows))
        encoded = table(shuffled)
        for name in ("name", "text"):
            at = encoded.schema.get_field_index(name)
            encoded = encoded.set_column(at, name, encoded[name].dictionary_encode())
        assert compute_content_version(THINGS, chunked) == expected
        assert compute_content_version(THINGS, sliced) == expected
        assert compute_content_version(THINGS, encoded) == expected

    @given(things, st.data())
    @settings(deadline=None, max_examples=40)
    def test_differs_if_any_single_value_differs(
        self, rows: list[dict[str, Any]], data: st.DataObject
    ) -> None:
        assume(rows)
        at = data.draw(st.integers(0, len(rows) - 1))
        column = data.draw(st.sampled_from(["text", "number", "flag", "moment"]))
        other = data.draw(values)[column]
        assume(other != rows[at][column])
        changed = [row | {column: other} if number == at else row for number, row in enumerate(rows)]
        assert version(changed) != version(rows)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param({"text": None}, {"text": ""}, id="null and an empty text"),
            pytest.param({"number": None}, {"number": 0}, id="null and zero"),
            pytest.param({"flag": None}, {"flag": False}, id="null and false"),
            pytest.param({"moment": None}, {"moment": EPOCH}, id="null and the epoch"),
            pytest.param({"text": "a "}, {"text": "a"}, id="a trailing space"),
            pytest.param({"moment": NOW}, {"moment": NOW + timedelta(milliseconds=1)}, id="a millisecond"),
        ],
    )
    def test_distinguishes_similar_values(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        base = {"name": "a", "recorded_at": NOW}
        assert version([base | first]) != version([base | second])

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            pytest.param([("a", "bc"), ("b", "d")], [("a", "b"), ("b", "cd")], id="equal concatenation"),
            pytest.param([("a", "x"), ("b", None)], [("a", None), ("b", "x")], id="a value in another row"),
            pytest.param([("a", None)], [("a", None), ("b", None)], id="an additional row of nulls"),
            pytest.param([], [("a", None)], id="no row and one row"),
        ],
    )
    def test_distinguishes_similar_rows(
        self, first: list[tuple[str, str | None]], second: list[tuple[str, str | None]]
    ) -> None:
        versions = {
            version([{"name": name, "text": text, "recorded_at": NOW} for name, text in rows])
            for rows in (first, second)
        }
        assert len(versions) == 2

    @given(things)
    @settings(deadline=None, max_examples=20)
    def test_does_not_depend_on_recorded_at(self, rows: list[dict[str, Any]]) -> None:
        assert version([row | {"recorded_at": EARLIER} for row in rows]) == version(rows)

    def test_ignores_volatile_columns(self) -> None:
        row = {
            "uri": "x",
            "size_bytes": 1,
            "executions": 0,
            "rejected": 0,
            "reader_version": 1,
            "recorded_at": NOW,
        }
        versions = {
            compute_content_version(
                ARCHIVE_FILES,
                pa.Table.from_pylist([row | {"merged_dates": days}], schema=ARCHIVE_FILES.schema),
            )
            for days in (None, [], [NOW.date()])
        }
        assert len(versions) == 1

    def test_differs_after_a_column_is_added_even_if_it_is_null(self) -> None:
        """Downstream assets are recomputed once after a schema change; see docs/how-to/upgrade.md."""
        grown = replace(THINGS, version=2, columns=(*THINGS.columns, Column("later", pa.string(), "new")))
        rows = table([{"name": "a", "recorded_at": NOW}])
        with_nulls = rows.append_column("later", pa.nulls(1, pa.string()))

        before, after = compute_content_version(THINGS, rows), compute_content_version(grown, with_nulls)

        assert before != after == compute_content_version(grown, with_nulls)

    def test_equals_a_constant_on_every_machine(self) -> None:
        row = {"name": "é", "text": "", "number": -1, "flag": True, "moment": NOW, "recorded_at": NOW}
        assert version([row, {"name": "a", "recorded_at": NOW}]) == "c9c8715075b8c4751e03bd0de1ca6e08"


class TestStampChanges:
    @given(things, things)
    @settings(deadline=None, max_examples=40)
    def test_keeps_recorded_at_of_unchanged_rows_and_sets_it_on_the_others(
        self, before: list[dict[str, Any]], after: list[dict[str, Any]]
    ) -> None:
        existing = conform(THINGS, table([row | {"recorded_at": EARLIER} for row in before]))
        rows = table(after).drop_columns("recorded_at")
        result = stamp_changes(THINGS, rows, existing, NOW)
        expected = [row | {"recorded_at": EARLIER if row in before else NOW} for row in after]
        assert result.schema.equals(THINGS.schema, check_metadata=True)
        assert result.to_pylist() == sorted(expected, key=lambda row: row["name"].encode())

    def test_returns_the_existing_table_if_nothing_changed(self) -> None:
        existing = conform(
            THINGS, table([{"name": "b", "recorded_at": EARLIER}, {"name": "a", "recorded_at": NOW}])
        )
        later = NOW + timedelta(days=9)
        assert stamp_changes(THINGS, existing.drop_columns("recorded_at"), existing, later).equals(existing)


def test_deduplicate_returns_distinct_content_without_recorded_at() -> None:
    row = {"name": "a", "text": None, "recorded_at": EARLIER}
    distinct = deduplicate(THINGS, table([row, row | {"recorded_at": NOW}, row | {"text": ""}]))
    assert sorted(distinct.to_pylist(), key=str) == sorted(
        [
            {"name": "a", "text": text, "number": None, "flag": None, "moment": None, "recorded_at": None}
            for text in (None, "")
        ],
        key=str,
    )


@given(things, things)
@settings(deadline=None, max_examples=40)
def test_new_and_changed_rows_are_counted(before: list[dict[str, Any]], added: list[dict[str, Any]]) -> None:
    after = [*{row["name"]: row for row in [*before, *added]}.values()]  # rows are never removed
    counted = count_changed_rows(THINGS, conform(THINGS, table(before)), conform(THINGS, table(after)))
    assert counted == sum(row not in before for row in after)


class TestConform:
    def test_sorts_by_key(self) -> None:
        rows = pa.Table.from_pylist(
            [
                {"source": source, "position": position, "reason": "r", "recorded_at": NOW}
                for source, position in [("b", 0), ("a", 10), ("a", 9)]
            ],
            schema=REJECTED_EXECUTIONS.schema,
        )
        keys = conform(REJECTED_EXECUTIONS, rows).select(["source", "position"]).to_pylist()
        assert [tuple(row.values()) for row in keys] == [("a", 9), ("a", 10), ("b", 0)]

    @pytest.mark.parametrize("missing", ["name", "recorded_at"])
    def test_raises_if_a_required_value_is_null(self, missing: str) -> None:
        nullable = pa.schema([field.with_nullable(True) for field in THINGS.schema])
        row = {"name": "a", "recorded_at": NOW} | {missing: None}
        with pytest.raises(ValueError, match=missing):
            conform(THINGS, pa.Table.from_pylist([row], schema=nullable))
