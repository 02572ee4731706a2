"""Parse result objects: every format of a line, and every way in which one can be invalid."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.anomalies.parse import (
    MAX_SENSORS,
    WHOLE_OBJECT,
    ParsedResult,
    parse_in_batches,
    parse_objects,
    split_diagnostic_names,
)
from resources.read_limits import ReadLimits
from sandbox.fleet import History, build_fleet
from sandbox.result_formats import RESULT_FORMATS
from sandbox.results import build_content, build_lines
from tests.support.mutations import damaged

KEY = "out/2026-10-07T00:00:00Z/results.jsonl"
GOOD = b'{"timestamp": "2026-10-07T00:01:00.000000", "prediction": 0}'
LATER = b'{"timestamp": "2026-10-07T00:02:00.000000", "prediction": 1}'


def parse_object(data: bytes, key: str = KEY) -> ParsedResult:
    return parse_objects([(0, key, data)])


def rebuild_lines(parsed: ParsedResult) -> list[dict[str, Any]]:
    """Turn parsed rows back into the JSON objects of their lines."""
    diagnostics: dict[datetime, list[dict[str, Any]]] = {}
    for row in parsed.contributions.to_pylist():
        contribution = {"name": row["diagnostic_name"], "value": row["contribution"]}
        diagnostics.setdefault(row["timestamp"], []).append(contribution)
    rebuilt = []
    for row in parsed.lines.to_pylist():
        line = {name: row[name] for name in ("prediction", "prediction_reason", "anomaly_score")}
        line["timestamp"] = row["timestamp"].replace(tzinfo=None).isoformat(timespec="microseconds")
        line["diagnostics"] = diagnostics.get(row["timestamp"])
        rebuilt.append({name: value for name, value in line.items() if value is not None})
    return rebuilt


def drop_empty_lists(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if value != []}


class TestFormats:
    @pytest.mark.parametrize("age", RESULT_FORMATS, ids=lambda age: age.name)
    def test_a_line_of_any_format_is_parsed_as_it_was_written(self, age: Any) -> None:
        end = datetime(2026, 10, 8, tzinfo=UTC)
        plants = build_fleet(1, History(end - timedelta(days=8), end))
        (scheduler, *_) = [
            candidate
            for candidate in plants.schedulers
            if age in (candidate.get_result_format(end), candidate.get_result_format(candidate.created_at))
        ]
        all_slots = scheduler.slots(scheduler.created_at, end)
        slots = [slot for slot in all_slots if scheduler.get_result_format(slot.window.start) == age][:400:4]

        parsed = parse_objects(
            [(number, KEY, build_content(scheduler, slot)) for number, slot in enumerate(slots)]
        )

        assert not parsed.rejected.num_rows
        assert rebuild_lines(parsed) == [
            drop_empty_lists(line) for slot in slots for line in build_lines(scheduler, slot)
        ]

    def test_members_that_a_format_lacks_are_null(self) -> None:
        (row,) = parse_object(b'{"timestamp": "2026-10-07T00:01:00.000000"}').lines.to_pylist()

        assert [row[name] for name in ("prediction", "prediction_reason", "anomaly_score")] == [None] * 3

    def test_the_csv_of_the_preview_is_parsed_with_or_without_a_header(self) -> None:
        body = b"2021-02-03 10:00:00,0\r\n2021-02-03 10:01:00,1.0\n"

        for data in (body, b"Timestamp,Predictions\n" + body):
            parsed = parse_object(data, "preview/results.csv")
            assert parsed.lines["prediction"].to_pylist() == [0, 1]
            assert parsed.lines["timestamp"].to_pylist() == [
                datetime(2021, 2, 3, 10, minute, tzinfo=UTC) for minute in (0, 1)
            ]
            assert not parsed.rejected.num_rows

    def test_gzip_data_is_unpacked_whatever_the_key(self) -> None:
        for data in (
            gzip.compress(GOOD + b"\n" + LATER),
            gzip.compress(GOOD + b"\n") + gzip.compress(LATER),
        ):
            assert parse_object(data).lines["prediction"].to_pylist() == [0, 1]

    def test_captured_lines_are_parsed_to_the_captured_values(self, captures: Path) -> None:
        files = sorted((captures.parent / "results").glob("*.jsonl"))
        assert files
        for file in files:
            expected = [drop_empty_lists(json.loads(line)) for line in file.read_text().splitlines()]
            parsed = parse_object(file.read_bytes())
            assert not parsed.rejected.num_rows
            assert rebuild_lines(parsed) == expected

    def test_a_timestamp_with_a_zone_is_converted_to_utc(self) -> None:
        parsed = parse_object(b'{"timestamp": "2026-10-07T05:31:00+05:30"}')

        assert parsed.lines["timestamp"].to_pylist() == [datetime(2026, 10, 7, 0, 1, tzinfo=UTC)]

    def test_unrecognized_members_are_kept(self) -> None:
        line = (
            b'{"timestamp": "2026-10-07T00:01:00.000000", "prediction": 1, "b": [1, {"c": null}], "a": 0.10,'
            b' "diagnostics": [{"name": "p\\\\s", "value": 1, "unit": "K"}]}'
        )

        parsed = parse_object(line)

        (row,) = parsed.lines.to_pylist()
        assert row["prediction"] == 1
        assert json.loads(row["unrecognized"]) == {
            "a": 0.1,
            "b": [1, {"c": None}],
            "diagnostics": [{"name": "p\\s", "unit": "K"}],
        }
        assert parsed.contributions["contribution"].to_pylist() == [1.0]


INVALID_LINES = {
    "not JSON": (b"nope", "not JSON"),
    "truncated": (GOOD[:-20], "not JSON"),
    "truncated after an unrecognized member": (b'{"colour": 1, "timestamp": "2026-', "not JSON"),
    "deep in an unrecognized member": (
        b'{"colour": ' + b"[" * 9_999 + b"]" * 9_999 + b', "timestamp": "2026-10-01T00:00:00"}',
        "nested too deeply",
    ),
    "not UTF-8 in an unrecognized member": (
        b'{"colour": "\xff", "timestamp": "2026-10-01T00:00:00"}',
        "not UTF-8",
    ),
    "too long": (b"[" + b" " * 1_000_000 + b"]", "longer than 1,000,000 bytes"),
    "a list": (b"[1]", "not a result line"),
    "no timestamp": (b'{"prediction": 1}', "`timestamp`"),
    "a timestamp that is a number": (b'{"timestamp": 1791331260, "prediction": 1}', "`$.timestamp`"),
    "a timestamp that is not a time": (b'{"timestamp": "today", "prediction": 1}', "`$.timestamp`"),
    "a time out of range": (b'{"timestamp": "0001-01-01T00:00:00+14:00"}', "out of range"),
    "a prediction of 2": (LATER.replace(b": 1}", b": 2}"), "`$.prediction`"),
    "a prediction that is true": (LATER.replace(b": 1}", b": true}"), "`$.prediction`"),
    "a score that is text": (LATER.replace(b"}", b', "anomaly_score": "0.5"}'), "`$.anomaly_score`"),
    "a score that is NaN": (LATER.replace(b"}", b', "anomaly_score": NaN}'), "not JSON"),
    "a score out of range": (LATER.replace(b"}", b', "anomaly_score": 1e999}'), "out of range"),
    "a contribution that is null": (
        LATER.replace(b"}", b', "diagnostics": [{"name": "a", "value": null}]}'),
        "diagnostics",
    ),
    "a sensor twice": (
        LATER.replace(b"}", b', "diagnostics": [{"name": "a", "value": 0}, {"name": "a", "value": 1}]}'),
        "a sensor occurs twice: a",
    ),
    "the time of an earlier line": (GOOD, "the same timestamp"),
    "not UTF-8": (LATER.replace(b"}", b', "prediction_reason": "\xff"}'), "not UTF-8"),
}


class TestInvalidLines:
    @pytest.mark.parametrize(("invalid", "reason"), INVALID_LINES.values(), ids=INVALID_LINES)
    def test_an_invalid_line_is_rejected_and_the_others_are_used(self, invalid: bytes, reason: str) -> None:
        last = GOOD.replace(b"00:01:", b"00:09:")

        parsed = parse_object(b"\n".join([GOOD, b"", invalid, last]) + b"\n")

        (rejected,) = parsed.rejected.to_pylist()
        assert rejected["line_number"] == 3, "blank lines count"
        assert rejected["raw"] == invalid.decode(errors="backslashreplace")[:10_000]
        assert reason in rejected["reason"]
        assert parsed.lines["prediction"].to_pylist() == [0, 0]
        assert not parsed.contributions.num_rows

    @pytest.mark.parametrize(
        ("invalid", "reason"),
        [
            (b"x,1", "ISO 8601"),
            (b"2021-02-03 10:00:00", "two columns"),
            (b"2021-02-03 10:00:00,2", "0 nor 1"),
        ],
    )
    def test_an_invalid_csv_line_is_rejected(self, invalid: bytes, reason: str) -> None:
        parsed = parse_object(b"2021-02-03 09:00:00,1\n" + invalid, "results.csv")

        assert parsed.lines.num_rows == 1
        (rejected,) = parsed.rejected.to_pylist()
        assert (rejected["line_number"], reason in rejected["reason"]) == (2, True)

    def test_truncated_gzip_data_gives_the_lines_that_can_be_unpacked(self) -> None:
        body = b"".join(
            b'{"timestamp": "2026-10-07T%02d:%02d:00", "prediction": %d}\n' % (n // 60, n % 60, n % 2)
            for n in range(1000)
        )

        parsed = parse_object(gzip.compress(body)[:-800])

        problems = {row["line_number"]: row["reason"] for row in parsed.rejected.to_pylist()}
        assert problems[WHOLE_OBJECT] == "truncated gzip data"
        assert 0 < parsed.lines.num_rows < 1000

    def test_a_byte_order_mark_is_skipped(self) -> None:
        assert parse_object(b"\xef\xbb\xbf" + GOOD).lines.num_rows == 1

    def test_an_empty_object_has_no_rows(self) -> None:
        for data in (b"", b"\n\n  \r\n", gzip.compress(b"")):
            parsed = parse_object(data)
            assert (parsed.lines.num_rows, parsed.rejected.num_rows) == (0, 0)


class TestManyObjects:
    def test_rows_have_the_number_of_their_object(self) -> None:
        parsed = parse_objects([(7, KEY, GOOD), (3, KEY, b"nope\n" + GOOD), (5, KEY, b"")])

        assert parsed.lines["object"].to_pylist() == [7, 3], "objects may share timestamps"
        assert parsed.rejected["object"].to_pylist() == [3]

    def test_the_largest_possible_object_is_parsed(self) -> None:
        names = [f"c\\s{number}" for number in range(300)]
        contributions = json.dumps([{"name": name, "value": 0.00333} for name in names])
        body = "".join(
            f'{{"timestamp": "2026-10-07T00:{n // 60:02}:{n % 60:02}.000000", "prediction": 1,'
            f' "diagnostics": {contributions}}}\n'
            for n in range(3600)
        ).encode()

        parsed = parse_object(body)

        assert (parsed.lines.num_rows, parsed.contributions.num_rows) == (3600, 3600 * 300)
        assert parsed.contributions["diagnostic_name"].combine_chunks().dictionary.to_pylist() == names
        assert parsed.contributions["contribution"].unique().to_pylist() == [0.00333]


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
START = datetime(1990, 1, 1)  # noqa: DTZ001 (lines have no zone)
numbers = st.floats(allow_nan=False, allow_infinity=False)
diagnostics = st.dictionaries(names, numbers, min_size=1, max_size=5).map(
    lambda values: [{"name": name, "value": value} for name, value in values.items()]
)
result_lines = st.fixed_dictionaries(
    {"timestamp": st.integers(0, 2**31).map(lambda second: START + timedelta(seconds=second))},
    optional={
        "prediction": st.sampled_from([0, 1]),
        "prediction_reason": names,
        "anomaly_score": numbers,
        "diagnostics": diagnostics,
    },
)
objects = st.lists(result_lines, max_size=6, unique_by=lambda line: line["timestamp"])


def to_json(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "timestamp": line["timestamp"].isoformat(timespec="microseconds")}


def build_body(lines: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(to_json(line)) + "\n" for line in lines).encode()


@given(st.lists(objects, max_size=4))
@settings(deadline=None)
def test_parsing_inverts_writing(contents: list[list[dict[str, Any]]]) -> None:
    parsed = parse_objects([(number, KEY, build_body(body)) for number, body in enumerate(contents)])

    assert not parsed.rejected.num_rows
    for number, body in enumerate(contents):
        of_object = ParsedResult(
            *(
                table.filter(pc.equal(table["object"], number))
                for table in (parsed.lines, parsed.contributions, parsed.rejected)
            )
        )
        assert rebuild_lines(of_object) == [to_json(line) for line in body]


@given(objects, st.binary(max_size=40), st.integers(0, 6))
@settings(deadline=None)
def test_arbitrary_bytes_between_lines_do_not_affect_the_other_lines(
    body: list[dict[str, Any]], noise: bytes, position: int
) -> None:
    whole = build_body(body).splitlines(keepends=True)
    noise = noise.replace(b"\n", b"") + b"\n"
    data = b"".join([*whole[:position], b"?" + noise, *whole[position:]])

    parsed = parse_object(data)

    assert rebuild_lines(parsed) == [to_json(line) for line in body]
    assert parsed.rejected["line_number"].to_pylist() == [min(position, len(whole)) + 1]


LINES = b"".join(
    json.dumps(
        {
            "timestamp": f"2026-10-01T00:0{minute}:00.000000",
            "prediction": minute % 2,
            "anomaly_score": 0.5,
            "diagnostics": [{"name": "pump\\\\flow", "value": 0.25}, {"name": "pump\\\\heat", "value": 0.75}],
        }
    ).encode()
    + b"\n"
    for minute in range(5)
)


@pytest.mark.parametrize(
    "examples",
    [60, pytest.param(500, marks=pytest.mark.slow), pytest.param(50_000, marks=pytest.mark.long)],
)
def test_damaged_objects_are_rejected_line_by_line(examples: int) -> None:
    """Every line is used or rejected once, whatever its bytes are, and no other object is affected."""

    @given(damaged(st.sampled_from([LINES, gzip.compress(LINES)])), st.sampled_from([KEY, "x.csv"]))
    @settings(deadline=None, max_examples=examples, suppress_health_check=list(HealthCheck))
    def check(data: bytes, key: str) -> None:
        parsed = parse_objects([(0, KEY, LINES), (1, key, data), (2, KEY, LINES)])
        assert parsed.lines.filter(pc.not_equal(parsed.lines["object"], 1)).num_rows == 10
        rejected = [row["line_number"] for row in parsed.rejected.to_pylist() if row["object"] == 1]
        used = parsed.lines.filter(pc.equal(parsed.lines["object"], 1)).num_rows
        assert len(rejected) == len(set(rejected))
        assert len(rejected) == parsed.rejected.num_rows
        if not data.startswith(b"\x1f\x8b"):
            content = data.removeprefix(b"\xef\xbb\xbf")
            assert used + len(rejected) == sum(bool(line.strip()) for line in content.split(b"\n"))

    check()


LIMITS = ReadLimits(size_bytes=100_000, rows=100)


class TestLimits:
    @pytest.mark.parametrize("layers", [0, 1, 2])
    def test_a_larger_object_is_rejected_whole_with_the_setting(self, layers: int) -> None:
        data = b"\n" * 200_000
        for _ in range(layers):
            data = gzip.compress(data)
        parsed = parse_objects([(0, KEY, data), (1, KEY, GOOD)], LIMITS)
        (rejected,) = parsed.rejected.to_pylist()
        assert (rejected["line_number"], rejected["object"]) == (WHOLE_OBJECT, 0)
        assert rejected["reason"] == "larger than 0 MB unpacked (limits.max_megabytes_per_file)"
        assert parsed.lines.num_rows == 1

    @pytest.mark.parametrize("line", [b"", b"x", GOOD], ids=["blank", "invalid", "valid"])
    def test_lines_beyond_the_limit_are_not_read(self, line: bytes) -> None:
        parsed = parse_objects([(0, KEY, b"\n".join([LATER] + 150 * [line]))], LIMITS)
        reasons = {row["line_number"]: row["reason"] for row in parsed.rejected.to_pylist()}
        reason = "more than 100 rows (limits.max_rows_per_file); the rest was not read"
        assert reasons[WHOLE_OBJECT] == reason
        assert parsed.lines.num_rows == 1 + (line == GOOD)

    def test_many_rejected_lines_are_counted(self) -> None:
        data = b"\n".join([b"x"] * 1500 + [GOOD])
        parsed = parse_objects([(0, KEY, data)])
        assert parsed.rejected.num_rows == 1001
        assert parsed.rejected.to_pylist()[-1] == {
            "object": 0,
            "line_number": WHOLE_OBJECT,
            "reason": "500 more lines are rejected",
            "raw": "",
        }
        assert parsed.lines.num_rows == 1

    def test_a_sensor_in_every_line_is_not_another_one(self) -> None:
        many = [{"name": f"{number}", "value": 0} for number in range(MAX_SENSORS)]
        line = json.dumps({"timestamp": "2026-10-01T00:00:00", "diagnostics": many[:20_000]}).encode()
        other = json.dumps({"timestamp": "2026-10-01T00:01:00", "diagnostics": many[10_001:]}).encode()
        extra = line.replace(b"00:00:00", b"00:02:00").replace(b'"0"', b'"x"')
        parsed = parse_objects([(0, KEY, line + b"\n" + other), (1, KEY, extra)])
        assert parsed.lines.num_rows == 2
        assert parsed.rejected["reason"].to_pylist() == ["more than 30,000 different sensors"]

    def test_batches_have_a_bounded_number_of_lines(self) -> None:
        objects = [(number, KEY, LINES) for number in range(50)]
        batches = list(parse_in_batches(objects, LIMITS, {50: "too large"}))
        assert [batch.lines.num_rows for batch in batches] == [100, 100, 50]
        assert batches[0].rejected["reason"].to_pylist() == ["too large"]
        numbers = {number for batch in batches for number in batch.lines["object"].to_pylist()}
        assert numbers == {*range(50)}


@given(st.text())
def test_a_name_is_split_at_its_first_backslash(name: str) -> None:
    components, sensors = split_diagnostic_names(pa.array([name]))

    (component,), (sensor,) = components.to_pylist(), sensors.to_pylist()
    assert name == (sensor if component is None else f"{component}\\{sensor}")
    assert component is None or "\\" not in component
