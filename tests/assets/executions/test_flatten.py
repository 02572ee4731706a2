"""Flattening: every member is stored in its column, and an invalid summary does not affect the others."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.api_models import Summary
from assets.executions.flatten import REJECTED, ROWS, FlattenedPages, flatten_pages
from assets.tables import INFERENCE_EXECUTIONS, INSTANT, Column
from resources.errors import DataError
from resources.sources.archive import ArchiveSource
from resources.sources.base import Page
from sandbox.dumps import split_into_pages, write_dump
from sandbox.fleet import History, build_fleet
from sandbox.forms import Form
from sandbox.schedulers import sort_newest_first

Row = dict[str, Any]

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
ARN = "arn:aws:lookoutequipment:eu-west-1:123456789012:inference-scheduler/pump-1/0a1b"
START = datetime(2021, 8, 31, 12, 45, tzinfo=UTC)
LEAST: Row = {"InferenceSchedulerArn": ARN, "DataStartTime": START.timestamp()}
FULL: Row = LEAST | {
    "ModelName": "pump-model",
    "ModelArn": "arn:aws:lookoutequipment:eu-west-1:123456789012:model/pump-model/2c3d",
    "InferenceSchedulerName": "pump-1",
    "ScheduledStartTime": "2021-08-31T14:52:00+02:00",
    "DataEndTime": "2021-08-31 12:50:00+00:00",
    "DataInputConfiguration": {
        "S3InputConfiguration": {"Bucket": "in", "Prefix": "in/"},
        "InputTimeZoneOffset": "+05:30",
        "InferenceInputNameConfiguration": {
            "TimestampFormat": "yyyyMMddHHmmss",
            "ComponentTimestampDelimiter": "_",
        },
    },
    "DataOutputConfiguration": {
        "S3OutputConfiguration": {"Bucket": "out", "Prefix": "out/"},
        "KmsKeyId": "a-key",
    },
    "CustomerResultObject": {"Bucket": "results", "Key": "out/2021-08-31T12:45:00Z/results.jsonl"},
    "Status": "SUCCESS",
    "FailedReason": "because",
    "ModelVersion": 3,
    "ModelVersionArn": "arn:aws:lookoutequipment:eu-west-1:123456789012:model/pump-model/2c3d/3",
}
FLAT: Row = {
    "scheduler_arn": ARN,
    "scheduler_name": "pump-1",
    "account_id": "123456789012",
    "region": "eu-west-1",
    "model_arn": FULL["ModelArn"],
    "model_name": "pump-model",
    "model_version": 3,
    "model_version_arn": FULL["ModelVersionArn"],
    "scheduled_start_time": START + timedelta(minutes=7),
    "data_start_time": START,
    "data_end_time": START + timedelta(minutes=5),
    "input_s3_bucket": "in",
    "input_s3_prefix": "in/",
    "input_time_zone_offset": "+05:30",
    "input_timestamp_format": "yyyyMMddHHmmss",
    "input_component_timestamp_delimiter": "_",
    "output_s3_bucket": "out",
    "output_s3_prefix": "out/",
    "output_kms_key_id": "a-key",
    "result_s3_bucket": "results",
    "result_s3_key": "out/2021-08-31T12:45:00Z/results.jsonl",
    "status": "SUCCESS",
    "failed_reason": "because",
    "source": "archive",
    "outcome_source": "archive",
    "recorded_at": None,
    "unrecognized": None,
}
MEMBERS = [column for column in INFERENCE_EXECUTIONS.columns if column.source]
every_member = pytest.mark.parametrize("column", MEMBERS, ids=lambda column: column.source)
STRUCTURES = sorted({column.source.rpartition(".")[0] for column in MEMBERS if column.source})  # "": the top
every_structure = pytest.mark.parametrize("path", STRUCTURES, ids=lambda path: path or "the summary itself")


def page(*summaries: Any, **given_page: Any) -> Page:
    fields: Row = {
        "body": json.dumps(summaries).encode(),
        "kind": "archive",
        "origin": "dump.json",
        "read_at": NOW,
    }
    return Page(**(fields | given_page))


def flattened(*summaries: Any, **given_page: Any) -> FlattenedPages:
    (actual,) = flatten_pages([page(*summaries, **given_page)])
    return actual


def rows(*summaries: Any, **given_page: Any) -> list[Row]:
    actual = flattened(*summaries, **given_page)
    assert actual.rejected.num_rows == 0
    fields: list[Row] = actual.rows.to_pylist()
    return fields


def put(summary: Row, path: str, value: Any) -> Row:
    """The summary with one member set, at any depth."""
    changed = deepcopy(summary)
    inside = changed
    *parents, name = path.split(".")
    for parent in parents:
        inside = inside.setdefault(parent, {})
    inside[name] = value
    return changed


def member(summary: Row, path: str) -> Any:
    value: Any = summary
    for name in path.split("."):
        value = (value or {}).get(name)
    return value


def camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: camel(inside) for name, inside in value.items()}
    return value


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class TestServiceModel:
    SHAPE = (
        botocore.session.get_session()
        .get_service_model("lookoutequipment")
        .shape_for("InferenceExecutionSummary")
    )

    @staticmethod
    def leaves(shape: Any, path: str = "") -> Iterator[tuple[str, str]]:
        for name, inside in shape.members.items():
            if inside.type_name == "structure":
                yield from TestServiceModel.leaves(inside, f"{path}{name}.")
            else:
                yield f"{path}{name}", inside.type_name

    def test_every_member_of_the_service_model_has_a_column_of_its_type(self) -> None:
        types = {"string": pa.string(), "timestamp": INSTANT, "long": pa.int64()}
        assert {column.source: column.type for column in MEMBERS} == {
            path: types[kind] for path, kind in self.leaves(self.SHAPE)
        }

    def test_structures_equal_the_service_model(self) -> None:
        def compare(ours: type, theirs: Any) -> None:
            fields = {field.name: field.type for field in msgspec.structs.fields(ours)}
            assert set(fields) == set(theirs.members), ours
            for name, inside in theirs.members.items():
                if inside.type_name == "structure":
                    compare(fields[name], inside)

        compare(Summary, self.SHAPE)

    def test_example_has_every_member(self) -> None:
        assert all(member(FULL, path) is not None for path, _ in self.leaves(self.SHAPE))


class TestMember:
    def test_all_members_are_stored_in_their_columns(self) -> None:
        assert rows(FULL) == [FLAT]

    @every_member
    def test_single_member_is_stored_in_its_column(self, column: Column) -> None:
        assert column.source
        alone = put(LEAST, column.source, member(FULL, column.source))
        (row,) = rows(alone)
        (bare,) = rows(LEAST)
        assert row == bare | {column.name: FLAT[column.name]}

    @every_member
    def test_missing_or_null_member_is_null(self, column: Column) -> None:
        if column.required:
            return
        assert column.source
        (row,) = rows(put(FULL, column.source, None))
        assert row == FLAT | {column.name: None}

    @pytest.mark.parametrize(
        "structure", ["DataInputConfiguration", "DataOutputConfiguration", "CustomerResultObject"]
    )
    @pytest.mark.parametrize("value", [None, {}], ids=["null", "empty"])
    def test_member_of_a_null_or_empty_structure_is_null(self, structure: str, value: Row | None) -> None:
        (row,) = rows(FULL | {structure: value})
        inside = {
            column.name: None for column in MEMBERS if column.source and column.source.startswith(structure)
        }
        assert row == FLAT | inside

    def test_empty_text_stays_empty(self) -> None:
        (row,) = rows(put(FULL, "DataInputConfiguration.S3InputConfiguration.Prefix", ""))
        assert row["input_s3_prefix"] == ""

    def test_lower_case_first_letter_is_accepted(self) -> None:
        assert rows(camel(FULL)) == [FLAT]
        assert rows(FULL, camel(FULL), FULL) == [FLAT] * 3

    def test_both_spellings_are_kept(self) -> None:
        (row,) = rows(LEAST | {"Status": "SUCCESS", "status": "FAILED"})
        assert (row["status"], row["unrecognized"]) == ("SUCCESS", '{"status":"FAILED"}')

    def test_both_spellings_keep_their_nested_members(self) -> None:
        (row,) = rows(LEAST | {"customerResultObject": {"new": 1}, "CustomerResultObject": {"New": 2}})
        assert json.loads(row["unrecognized"]) == {
            "customerResultObject": {"new": 1},
            "CustomerResultObject": {"New": 2},
        }

    def test_any_text_is_kept(self) -> None:
        text = 'ä€🚀 "quoted" \\ \n\t\u0000'
        assert rows(FULL | {"FailedReason": text})[0]["failed_reason"] == text


class TestAccountAndRegion:
    @pytest.mark.parametrize(
        ("arn", "owner"),
        [
            (ARN, ("123456789012", "eu-west-1")),
            ("arn:aws-cn:lookoutequipment:cn-north-1:1:inference-scheduler/a/b", ("1", "cn-north-1")),
            ("arn:aws:lookoutequipment:::inference-scheduler/a/b", (None, None)),
            ("pump-1", (None, None)),
        ],
    )
    def test_are_parsed_from_the_arn(self, arn: str, owner: tuple[str | None, str | None]) -> None:
        (row,) = rows(LEAST | {"InferenceSchedulerArn": arn})
        assert (row["account_id"], row["region"]) == owner


class TestPowerShell:
    """`ConvertTo-Json` of the AWS tools: a status is an object, and a time has its own format."""

    def test_statuses_and_times_are_read(self) -> None:
        saved = FULL | {"Status": {"Value": "SUCCESS"}, "DataStartTime": "/Date(1630413900000)/"}
        assert rows(saved) == [FLAT]

    def test_an_omitted_structure_leaves_the_rest_usable(self) -> None:
        type_name = "Amazon.LookoutEquipment.Model.S3Object"
        (row,) = rows(FULL | {"CustomerResultObject": type_name})
        assert row["result_s3_key"] is None
        assert json.loads(row["unrecognized"]) == {"CustomerResultObject": type_name}

    def test_other_objects_are_no_values(self) -> None:
        for value in ({"Value": 1}, {"Value": "SUCCESS", "Other": 1}, {}):
            assert flattened(FULL | {"Status": value}).rejected.num_rows == 1


class TestUnknownMembers:
    @every_structure
    @pytest.mark.parametrize(
        "value", [1, "x", None, [1, {"b": 2, "a": 1}], {"z": 1, "a": {"y": 2.5}}], ids=str
    )
    def test_are_stored_as_canonical_json_at_every_level(self, path: str, value: Any) -> None:
        new = f"{path}.New" if path else "New"
        (row,) = rows(put(FULL, new, value))
        assert row == FLAT | {"unrecognized": canonical(put({}, new, value))}

    def test_of_several_levels_are_stored_together(self) -> None:
        summary = put(put(FULL, "New", 1), "DataInputConfiguration.S3InputConfiguration.Newer", [2])
        (row,) = rows(summary)
        assert row["unrecognized"] == (
            '{"DataInputConfiguration":{"S3InputConfiguration":{"Newer":[2]}},"New":1}'
        )

    def test_order_does_not_matter(self) -> None:
        one, other = (rows(LEAST | dict(new))[0] for new in ([("B", 1), ("A", 2)], [("A", 2), ("B", 1)]))
        assert one["unrecognized"] == other["unrecognized"] == '{"A":2,"B":1}'

    def test_of_the_response_are_not_stored_with_executions(self) -> None:
        body = json.dumps({"InferenceExecutionSummaries": [FULL], "NextToken": "t", "ResponseMetadata": {}})
        assert rows(body=body.encode()) == [FLAT]


class TestRejectedSummary:
    @pytest.mark.parametrize(
        ("summary", "reason"),
        [
            pytest.param({"DataStartTime": 0}, "no InferenceSchedulerArn", id="no scheduler"),
            pytest.param(LEAST | {"InferenceSchedulerArn": None}, "no InferenceSchedulerArn", id="a null"),
            pytest.param(
                LEAST | {"InferenceSchedulerArn": ""}, "no InferenceSchedulerArn", id="an empty ARN"
            ),
            pytest.param({"InferenceSchedulerArn": ARN}, "no DataStartTime", id="no start"),
            pytest.param(LEAST | {"DataStartTime": "soon"}, "data_start_time: 'soon'", id="no time"),
            pytest.param(LEAST | {"DataEndTime": 1e300}, "data_end_time: 1e+300", id="no such time"),
            pytest.param(
                LEAST | {"DataStartTime": "2021-08-31T12:45:00"}, "time_zone", id="a time without a zone"
            ),
            pytest.param(LEAST | {"Status": 1}, "Status", id="a number for a text"),
            pytest.param(LEAST | {"ModelVersion": "1"}, "ModelVersion", id="a text for a number"),
            pytest.param(LEAST | {"ModelVersion": 1.5}, "ModelVersion", id="half a number"),
            pytest.param(LEAST | {"ModelVersion": 2**63}, "ModelVersion", id="a number beyond 64 bits"),
            pytest.param(LEAST | {"DataStartTime": True}, "DataStartTime", id="a flag for a time"),
            pytest.param(
                LEAST | {"CustomerResultObject": "x"}, "CustomerResultObject", id="a text for a structure"
            ),
            pytest.param(
                put(LEAST, "CustomerResultObject.Key", ["x"]),
                "CustomerResultObject.Key",
                id="a list for a key",
            ),
            pytest.param({}, "no InferenceSchedulerArn", id="nothing"),
            pytest.param(None, "object", id="null"),
            pytest.param([], "object", id="a list"),
            pytest.param("text", "object", id="a text"),
        ],
    )
    def test_is_quarantined_with_raw_text_and_reason_and_others_are_kept(
        self,
        summary: Any,
        reason: str,
    ) -> None:
        actual = flattened(FULL, summary, LEAST)
        assert actual.rows.to_pylist() == rows(FULL, LEAST)
        assert actual.summaries == 3
        (rejected,) = actual.rejected.to_pylist()
        assert reason in rejected.pop("reason")
        assert json.loads(rejected.pop("raw")) == summary
        assert rejected == {"source": "dump.json", "position": 1, "recorded_at": None}

    def test_number_out_of_range_is_rejected(self) -> None:
        body = f'[{json.dumps(LEAST)}, {json.dumps(LEAST)[:-1]}, "New": 1e999}}]'.encode()
        actual = flattened(body=body)
        assert (actual.rows.num_rows, actual.rejected["position"].to_pylist()) == (1, [1])

    @pytest.mark.parametrize("name", ["FailedReason", "New"])
    def test_invalid_utf_8_is_rejected(self, name: str) -> None:
        spoilt = json.dumps(LEAST | {name: "@"}).encode().replace(b"@", b"\xe9")
        actual = flattened(body=b"[" + json.dumps(FULL).encode() + b"," + spoilt + b"]")
        assert actual.rows.to_pylist() == [FLAT]
        (rejected,) = actual.rejected.to_pylist()
        assert "utf-8" in rejected["reason"]
        assert rejected["raw"] == spoilt.decode(errors="backslashreplace")

    def test_raw_text_keeps_unusual_spelling(self) -> None:
        raw = '{ "Status" :5,\n"New":  1.0e0 }'
        (rejected,) = flattened(body=f"[{raw}]".encode()).rejected.to_pylist()
        assert rejected["raw"] == raw

    def test_time_without_offset_is_accepted_if_the_source_has_a_zone(self) -> None:
        summary = LEAST | {"DataStartTime": "2021-08-31 14:45:00"}
        (row,) = rows(summary, zone=timezone(timedelta(hours=2)))
        assert row["data_start_time"] == START


class TestPages:
    def test_positions_continue_from_page_to_page(self) -> None:
        pages = [page(FULL, {}), page(), page({}, FULL, {}), page({})]
        actual = [*flatten_pages(pages)]
        assert [part.rejected["position"].to_pylist() for part in actual] == [[1], [], [2, 4], [5]]
        assert [part.summaries for part in actual] == [2, 0, 3, 1]

    def test_pages_are_flattened_together_with_the_rows_of_each_page(self) -> None:
        other = put(put(FULL, "DataInputConfiguration.InputTimeZoneOffset", "-03:00"), "Status", None)
        pages = [page(FULL, LEAST), page(other), page(), page(FULL | {"New": 1}), page(LEAST, FULL)]
        alone = [row for each in pages for part in flatten_pages([each]) for row in part.rows.to_pylist()]
        together = [*flatten_pages(pages)]
        assert len(together) < len(pages)
        assert [row for part in together for row in part.rows.to_pylist()] == alone

    def test_an_invalid_configuration_rejects_only_its_summary(self) -> None:
        invalid = put(FULL, "DataInputConfiguration.S3InputConfiguration.Bucket", 5)
        (part, *others) = flatten_pages([page(FULL, invalid), page(LEAST)])
        assert (part.rows.num_rows, part.rejected["position"].to_pylist()) == (1, [1])
        assert [other.rows.num_rows for other in others] == [1]

    def test_pages_before_an_error_are_flattened(self) -> None:
        def fail_after_one() -> Iterator[Page]:
            yield page(FULL)
            raise DataError("the second page", where="a test", next_step="none")

        parts: list[FlattenedPages] = []
        with pytest.raises(DataError, match="the second page"):
            parts.extend(flatten_pages(fail_after_one()))
        assert [part.rows.to_pylist() for part in parts] == [[FLAT]]

    def test_positions_restart_for_each_origin(self) -> None:
        one, other = (next(iter(flatten_pages([page({}, origin=origin)]))) for origin in ("a.json", "b.json"))
        assert [part.rejected.to_pylist()[0]["position"] for part in (one, other)] == [0, 0]
        assert other.rejected.to_pylist()[0]["source"] == "b.json"

    @pytest.mark.parametrize("kind", ["api", "archive", "bucket"])
    def test_source_and_outcome_source_are_the_kind_of_the_page(self, kind: str) -> None:
        for summary in (FULL, FULL | {"New": 1}):
            (row,) = rows(summary, kind=kind)
            assert (row["source"], row["outcome_source"]) == (kind, kind)

    @pytest.mark.parametrize(
        "body",
        [b"[]", b"{}", b" \n[ ]", b'{"InferenceExecutionSummaries": []}'],
        ids=bytes.decode,
    )
    def test_page_without_summaries_gives_empty_tables(self, body: bytes) -> None:
        actual = flattened(body=body)
        assert actual.rows.equals(ROWS.empty_table())
        assert actual.rejected.equals(REJECTED.empty_table())

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"5",
            b'"text"',
            b"null",
            b"[",
            b"[}",
            b"not json",
            b'{"InferenceExecutionSummaries": 5}',
            b"\xff",
        ],
        ids=repr,
    )
    def test_invalid_page_raises_an_error_with_its_origin(self, body: bytes) -> None:
        with pytest.raises(DataError, match=r"dump\.json"):
            flattened(body=body)

    def test_too_deeply_nested_page_raises_an_error(self) -> None:
        deep = b"[" * 100_000 + b"]" * 100_000
        with pytest.raises(DataError, match="recursion"):
            flattened(body=b'[{"New":' + deep + b"}]")

    def test_repeated_execution_gives_two_candidates(self) -> None:
        assert rows(FULL, FULL) == [FLAT, FLAT]

    @pytest.mark.parametrize(
        "summary", [FULL, LEAST, FULL | {"New": 1}, {}], ids=["full", "least", "new", "none"]
    )
    def test_rows_have_the_declared_columns_and_null_recorded_at(self, summary: Row) -> None:
        actual = flattened(summary)
        assert actual.rows.schema.equals(ROWS)
        assert actual.rejected.schema.equals(REJECTED)
        assert ROWS.names == INFERENCE_EXECUTIONS.schema.names
        actual.rows.validate(full=True)


# every JSON value, and more often than by chance what looks like a summary
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8).filter(str.isprintable)
    | st.sampled_from([ARN, START.timestamp(), START.isoformat(), "2021-08-31T12:45:00"])
)
names = st.sampled_from(
    [
        spelled
        for column in MEMBERS
        if column.source
        for part in column.source.split(".")
        for spelled in (part, part[0].lower() + part[1:])
    ]
) | st.text(max_size=4).filter(str.isprintable)
anything = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(names, inside, max_size=4),
    max_leaves=8,
)
invalid_summaries = anything | st.dictionaries(names, anything, max_size=5).map(
    lambda changed: LEAST | changed
)
usable = st.fixed_dictionaries(
    {name: st.just(value) for name, value in LEAST.items()},
    optional={name: st.just(value) for name, value in FULL.items() if name not in LEAST},
)


class TestFlattenLaws:
    @given(st.lists(invalid_summaries, max_size=5))
    @settings(deadline=None, max_examples=50)
    def test_every_summary_gives_a_row_or_a_reject(self, summaries: list[Any]) -> None:
        actual = flattened(*summaries)
        assert actual.summaries == len(summaries)
        aside = actual.rejected["position"].to_pylist()
        assert aside == sorted(set(aside))
        assert all(actual.rejected["reason"].to_pylist())
        for position, raw in zip(aside, actual.rejected["raw"].to_pylist(), strict=True):
            assert json.loads(raw) == summaries[position]
        for row in actual.rows.to_pylist():  # whatever is kept can be read again
            assert row["scheduler_arn"]
            assert row["data_start_time"] is not None
            assert row["unrecognized"] is None or json.loads(row["unrecognized"])

    @given(st.lists(invalid_summaries, max_size=4))
    @settings(deadline=None, max_examples=25)
    def test_result_of_a_summary_does_not_depend_on_others(self, summaries: list[Any]) -> None:
        together = flattened(*summaries)
        alone = [flattened(summary) for summary in summaries]
        assert together.rows.to_pylist() == [row for part in alone for row in part.rows.to_pylist()]
        assert together.rejected["reason"].to_pylist() == [
            reason for part in alone for reason in part.rejected["reason"].to_pylist()
        ]

    @given(st.lists(usable, min_size=1, max_size=5), st.data())
    @settings(deadline=None, max_examples=25)
    def test_unknown_member_does_not_affect_other_summaries(
        self, summaries: list[Row], data: st.DataObject
    ) -> None:
        at = data.draw(st.integers(0, len(summaries) - 1))
        path = data.draw(st.sampled_from(STRUCTURES))
        new = f"{path}.New" if path else "New"
        changed = [
            put(summary, new, 1) if number == at else summary for number, summary in enumerate(summaries)
        ]
        expected = rows(*summaries)
        expected[at]["unrecognized"] = canonical(put({}, new, 1))
        assert rows(*changed) == expected

    @given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    @settings(deadline=None, max_examples=50)
    def test_any_bytes_give_rows_or_a_data_error(self, body: bytes) -> None:
        try:
            flattened(body=body)
        except DataError as error:
            assert error.where == "dump.json"  # noqa: PT017 (most bodies raise, some do not)


class TestSavedResponses:
    END = datetime(2026, 10, 8, tzinfo=UTC)
    FLEET = build_fleet(5, History(END - timedelta(days=1), END))

    @classmethod
    def truth(cls) -> list[Row]:
        """All summaries of the fleet, those included that are in progress, stuck or invalid."""
        return sort_newest_first(cls.FLEET.executions(cls.END))

    @staticmethod
    def expected(summary: Row, form: Form) -> Row:
        row = {column.name: member(summary, column.source) for column in MEMBERS if column.source}
        _, _, _, region, account, _ = summary["InferenceSchedulerArn"].split(":", 5)
        unknown = {}
        if "ResultFormat" in summary["DataOutputConfiguration"]:
            result_format = summary["DataOutputConfiguration"]["ResultFormat"]
            unknown["DataOutputConfiguration"] = {"ResultFormat": result_format}
        if "InferenceRuntimeInSeconds" in summary:
            unknown["InferenceRuntimeInSeconds"] = summary["InferenceRuntimeInSeconds"]
        if form is Form.CAMEL_CASE:
            unknown = camel(unknown)  # the original spelling is unknown
        return row | {
            "account_id": account,
            "region": region,
            "source": "archive",
            "outcome_source": "archive",
            "recorded_at": None,
            "unrecognized": canonical(unknown) if unknown else None,
        }

    @pytest.mark.parametrize("form", Form)
    def test_every_format_gives_the_expected_rows(self, form: Form, tmp_path: Path) -> None:
        truth = self.truth()
        zone = timezone(timedelta(hours=5, minutes=30))
        size = len(truth) if form is Form.BARE_LIST else 500
        (path,) = write_dump(
            tmp_path / "dump.json.gz", form, split_into_pages(truth, size), zone=zone, taken_at=self.END
        )
        archive = ArchiveSource(str(path))
        (file,) = archive.list_files()
        parts = [*flatten_pages(archive.open(file).read_pages(NOW))]
        assert sum(part.rejected.num_rows for part in parts) == 0
        actual = pa.concat_tables(part.rows for part in parts).to_pylist()
        assert actual == [self.expected(summary, form) for summary in truth]

    def test_expected_rows_include_all_problems(self) -> None:
        truth = self.truth()
        assert {summary["Status"] for summary in truth} == {"IN_PROGRESS", "SUCCESS", "FAILED"}
        assert any("ModelVersion" not in summary for summary in truth)
        assert any("InferenceRuntimeInSeconds" in summary for summary in truth)
        assert any("KmsKeyId" in summary["DataOutputConfiguration"] for summary in truth)
