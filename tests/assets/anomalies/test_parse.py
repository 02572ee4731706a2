"""Bytes of result objects to columns: every age of the line, and every way in which one can be wrong."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.anomalies.parse import WHOLE_OBJECT, ParsedResult, parse_objects, split_diagnostic_names
from sandbox.fleet import History, fleet
from sandbox.result_formats import AGES
from sandbox.results import content, lines

KEY = "out/2026-10-07T00:00:00Z/results.jsonl"
GOOD = b'{"timestamp": "2026-10-07T00:01:00.000000", "prediction": 0}'
LATER = b'{"timestamp": "2026-10-07T00:02:00.000000", "prediction": 1}'


def read(data: bytes, key: str = KEY) -> ParsedResult:
    return parse_objects([(0, key, data)])


def spelled(parsed: ParsedResult) -> list[dict[str, Any]]:
    """Rows put together as lines again."""
    each: dict[datetime, list[dict[str, Any]]] = {}
    for row in parsed.contributions.to_pylist():
        one = {"name": row["diagnostic_name"], "value": row["contribution"]}
        each.setdefault(row["timestamp"], []).append(one)
    found = []
    for row in parsed.lines.to_pylist():
        line = {name: row[name] for name in ("prediction", "prediction_reason", "anomaly_score")}
        line["timestamp"] = row["timestamp"].replace(tzinfo=None).isoformat(timespec="microseconds")
        line["diagnostics"] = each.get(row["timestamp"])
        found.append({name: value for name, value in line.items() if value is not None})
    return found


def without_empty_lists(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if value != []}


class TestAges:
    @pytest.mark.parametrize("age", AGES, ids=lambda age: age.name)
    def test_a_line_of_any_age_reads_as_it_was_written(self, age: Any) -> None:
        end = datetime(2026, 10, 8, tzinfo=UTC)
        plants = fleet(1, History(end - timedelta(days=8), end))
        (one, *_) = [
            each for each in plants.schedulers if each.age(end) == age or each.age(each.created_at) == age
        ]
        slots = [slot for slot in one.slots(one.created_at, end) if one.age(slot.window.start) == age][:400]

        parsed = parse_objects([(number, KEY, content(one, slot)) for number, slot in enumerate(slots)])

        assert not parsed.rejected.num_rows
        assert spelled(parsed) == [without_empty_lists(line) for slot in slots for line in lines(one, slot)]

    def test_what_a_format_had_not_is_null_and_never_zero(self) -> None:
        (row,) = read(b'{"timestamp": "2026-10-07T00:01:00.000000"}').lines.to_pylist()

        assert [row[name] for name in ("prediction", "prediction_reason", "anomaly_score")] == [None] * 3

    def test_the_previews_csv_is_read_with_or_without_its_header(self) -> None:
        body = b"2021-02-03 10:00:00,0\r\n2021-02-03 10:01:00,1.0\n"

        for data in (body, b"Timestamp,Predictions\n" + body):
            parsed = read(data, "preview/results.csv")
            assert parsed.lines["prediction"].to_pylist() == [0, 1]
            assert parsed.lines["timestamp"].to_pylist() == [
                datetime(2021, 2, 3, 10, minute, tzinfo=UTC) for minute in (0, 1)
            ]
            assert not parsed.rejected.num_rows

    def test_packed_objects_are_unpacked_whatever_their_name(self) -> None:
        for packed in (
            gzip.compress(GOOD + b"\n" + LATER),
            gzip.compress(GOOD + b"\n") + gzip.compress(LATER),
        ):
            assert read(packed).lines["prediction"].to_pylist() == [0, 1]

    def test_captured_lines_read_to_the_captured_values(self, captures: Path) -> None:
        files = sorted((captures.parent / "results").glob("*.jsonl"))
        assert files
        for file in files:
            expected = [without_empty_lists(json.loads(line)) for line in file.read_text().splitlines()]
            parsed = read(file.read_bytes())
            assert not parsed.rejected.num_rows
            assert spelled(parsed) == expected

    def test_a_time_with_a_zone_is_that_instant(self) -> None:
        parsed = read(b'{"timestamp": "2026-10-07T05:31:00+05:30"}')

        assert parsed.lines["timestamp"].to_pylist() == [datetime(2026, 10, 7, 0, 1, tzinfo=UTC)]

    def test_members_that_nobody_knows_are_kept(self) -> None:
        line = (
            b'{"timestamp": "2026-10-07T00:01:00.000000", "prediction": 1, "b": [1, {"c": null}], "a": 0.10,'
            b' "diagnostics": [{"name": "p\\\\s", "value": 1, "unit": "K"}]}'
        )

        parsed = read(line)

        (row,) = parsed.lines.to_pylist()
        assert row["prediction"] == 1
        assert json.loads(row["unrecognized"]) == {
            "a": 0.1,
            "b": [1, {"c": None}],
            "diagnostics": [{"name": "p\\s", "unit": "K"}],
        }
        assert parsed.contributions["contribution"].to_pylist() == [1.0]


WRONG = {
    "no JSON": (b"nope", "not JSON"),
    "cut short": (GOOD[:-20], "not JSON"),
    "a list": (b"[1]", "not a result line"),
    "no timestamp": (b'{"prediction": 1}', "`timestamp`"),
    "a timestamp that is a number": (b'{"timestamp": 1791331260, "prediction": 1}', "`$.timestamp`"),
    "a timestamp that is none": (b'{"timestamp": "today", "prediction": 1}', "`$.timestamp`"),
    "a time beyond the calendar": (b'{"timestamp": "0001-01-01T00:00:00+14:00"}', "beyond the calendar"),
    "a prediction of 2": (LATER.replace(b": 1}", b": 2}"), "`$.prediction`"),
    "a prediction that is true": (LATER.replace(b": 1}", b": true}"), "`$.prediction`"),
    "a score that is text": (LATER.replace(b"}", b', "anomaly_score": "0.5"}'), "`$.anomaly_score`"),
    "a score that is NaN": (LATER.replace(b"}", b', "anomaly_score": NaN}'), "not JSON"),
    "a score beyond numbers": (LATER.replace(b"}", b', "anomaly_score": 1e999}'), "out of range"),
    "a contribution that is null": (
        LATER.replace(b"}", b', "diagnostics": [{"name": "a", "value": null}]}'),
        "diagnostics",
    ),
    "a sensor twice": (
        LATER.replace(b"}", b', "diagnostics": [{"name": "a", "value": 0}, {"name": "a", "value": 1}]}'),
        "a sensor stands in it twice: a",
    ),
    "the time of an earlier line": (GOOD, "the same timestamp"),
    "no UTF-8": (LATER.replace(b"}", b', "prediction_reason": "\xff"}'), "not UTF-8"),
}


class TestWrongLines:
    @pytest.mark.parametrize(("wrong", "reason"), WRONG.values(), ids=WRONG)
    def test_a_wrong_line_is_put_aside_and_the_others_are_used(self, wrong: bytes, reason: str) -> None:
        last = GOOD.replace(b"00:01:", b"00:09:")

        parsed = read(b"\n".join([GOOD, b"", wrong, last]) + b"\n")

        (rejected,) = parsed.rejected.to_pylist()
        assert rejected["line_number"] == 3, "blank lines count"
        assert rejected["raw"] == wrong.decode(errors="backslashreplace")
        assert reason in rejected["reason"]
        assert parsed.lines["prediction"].to_pylist() == [0, 0]
        assert not parsed.contributions.num_rows

    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            (b"x,1", "ISO 8601"),
            (b"2021-02-03 10:00:00", "two columns"),
            (b"2021-02-03 10:00:00,2", "0 nor 1"),
        ],
    )
    def test_a_wrong_line_of_csv_too(self, wrong: bytes, reason: str) -> None:
        parsed = read(b"2021-02-03 09:00:00,1\n" + wrong, "results.csv")

        assert parsed.lines.num_rows == 1
        (rejected,) = parsed.rejected.to_pylist()
        assert (rejected["line_number"], reason in rejected["reason"]) == (2, True)

    def test_a_pack_that_is_cut_short_gives_what_can_be_had(self) -> None:
        body = b"".join(
            b'{"timestamp": "2026-10-07T%02d:%02d:00", "prediction": %d}\n' % (n // 60, n % 60, n % 2)
            for n in range(1000)
        )

        parsed = read(gzip.compress(body)[:-800])

        problems = {row["line_number"]: row["reason"] for row in parsed.rejected.to_pylist()}
        assert problems[WHOLE_OBJECT] == "its gzip is cut short"
        assert 0 < parsed.lines.num_rows < 1000

    def test_a_mark_of_the_byte_order_is_nothing(self) -> None:
        assert read(b"\xef\xbb\xbf" + GOOD).lines.num_rows == 1

    def test_an_object_of_nothing_is_nothing(self) -> None:
        for data in (b"", b"\n\n  \r\n", gzip.compress(b"")):
            parsed = read(data)
            assert (parsed.lines.num_rows, parsed.rejected.num_rows) == (0, 0)


class TestManyObjects:
    def test_rows_know_the_object_that_they_came_from(self) -> None:
        parsed = parse_objects([(7, KEY, GOOD), (3, KEY, b"nope\n" + GOOD), (5, KEY, b"")])

        assert parsed.lines["object"].to_pylist() == [7, 3], "the same time in two objects is no double"
        assert parsed.rejected["object"].to_pylist() == [3]

    def test_the_largest_object_there_can_be(self) -> None:
        names = [f"c\\s{number}" for number in range(300)]
        contributions = json.dumps([{"name": name, "value": 0.00333} for name in names])
        body = "".join(
            f'{{"timestamp": "2026-10-07T00:{n // 60:02}:{n % 60:02}.000000", "prediction": 1,'
            f' "diagnostics": {contributions}}}\n'
            for n in range(3600)
        ).encode()

        parsed = read(body)

        assert (parsed.lines.num_rows, parsed.contributions.num_rows) == (3600, 3600 * 300)
        assert parsed.contributions["diagnostic_name"].combine_chunks().dictionary.to_pylist() == names
        assert parsed.contributions["contribution"].unique().to_pylist() == [0.00333]


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
START = datetime(1990, 1, 1)  # noqa: DTZ001 (lines have no zone)
numbers = st.floats(allow_nan=False, allow_infinity=False)
entries = st.dictionaries(names, numbers, min_size=1, max_size=5).map(
    lambda each: [{"name": name, "value": value} for name, value in each.items()]
)
result_lines = st.fixed_dictionaries(
    {"timestamp": st.integers(0, 2**31).map(lambda second: START + timedelta(seconds=second))},
    optional={
        "prediction": st.sampled_from([0, 1]),
        "prediction_reason": names,
        "anomaly_score": numbers,
        "diagnostics": entries,
    },
)
objects = st.lists(result_lines, max_size=6, unique_by=lambda line: line["timestamp"])


def as_json(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "timestamp": line["timestamp"].isoformat(timespec="microseconds")}


def body_of(some: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(as_json(line)) + "\n" for line in some).encode()


@given(st.lists(objects, max_size=4))
@settings(deadline=None)
def test_whatever_is_written_is_read(each: list[list[dict[str, Any]]]) -> None:
    parsed = parse_objects([(number, KEY, body_of(some)) for number, some in enumerate(each)])

    assert not parsed.rejected.num_rows
    for number, some in enumerate(each):
        mine = ParsedResult(
            *(
                table.filter(_is(table, number))
                for table in (parsed.lines, parsed.contributions, parsed.rejected)
            )
        )
        assert spelled(mine) == [as_json(line) for line in some]


def _is(table: Any, number: int) -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415

    return pc.equal(table["object"], number)


@given(objects, st.binary(max_size=40), st.integers(0, 6))
@settings(deadline=None)
def test_no_bytes_within_cost_the_other_lines_anything(
    some: list[dict[str, Any]], noise: bytes, at: int
) -> None:
    whole = body_of(some).splitlines(keepends=True)
    noise = noise.replace(b"\n", b"") + b"\n"
    data = b"".join([*whole[:at], b"?" + noise, *whole[at:]])

    parsed = read(data)

    assert spelled(parsed) == [as_json(line) for line in some]
    assert parsed.rejected["line_number"].to_pylist() == [min(at, len(whole)) + 1]


@given(st.text())
def test_a_name_is_split_once_and_nothing_of_it_is_lost(name: str) -> None:
    import pyarrow as pa  # noqa: PLC0415

    components, sensors = split_diagnostic_names(pa.array([name]))

    (component,), (sensor,) = components.to_pylist(), sensors.to_pylist()
    assert name == (sensor if component is None else f"{component}\\{sensor}")
    assert component is None or "\\" not in component
