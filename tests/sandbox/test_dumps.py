"""Dumps: the format of each tool, and the manifest of a folder of dumps."""

import ast
import gzip
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import __main__ as program
from sandbox.__main__ import main
from sandbox.dumps import Manifest, split_into_pages, write_dump, write_history
from sandbox.fleet import History, build_fleet
from sandbox.forms import FORMS, Form, format_java_double
from sandbox.schedulers import Summary, sort_newest_first

END = datetime(2026, 10, 8, tzinfo=UTC)
HISTORY = History(END - timedelta(days=4), END)
LATER = END + timedelta(hours=2)
FLEET = build_fleet(3, HISTORY)
TIMES = {"ScheduledStartTime", "DataStartTime", "DataEndTime"}
WHOLE_RESPONSES = [form for form in Form if form not in {Form.JSON_LINES, Form.BARE_LIST}]


def list_summaries(name: str = "compressor-2", count: int = 7) -> list[Summary]:
    scheduler = next(scheduler for scheduler in FLEET.schedulers if scheduler.name == name)
    return sort_newest_first(scheduler.executions(LATER, end=END))[:count]


def read_text(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def parse_documents(text: str) -> list[Any]:
    """Parse consecutive JSON documents or Python literals."""
    if "datetime.datetime(" in text:
        quoted = re.sub(r"datetime\.datetime\(([\d, ]+), tzinfo=tzutc\(\)\)", r"'@\1'", text)
        return [ast.literal_eval(line) for line in quoted.splitlines()]
    decoder, position, parsed = json.JSONDecoder(), 0, []
    while position < len(text):
        document, position = decoder.raw_decode(text, position)
        parsed.append(document)
        position += len(text[position:]) - len(text[position:].lstrip())
    return parsed


def parse_instant(value: Any) -> datetime:
    if isinstance(value, float):
        return datetime.fromtimestamp(value, UTC)
    if value.startswith("@"):
        year, month, day, hour, minute, *rest = map(int, value[1:].split(","))
        return datetime(
            year, month, day, hour, minute, sum(rest), tzinfo=UTC
        )  # `rest` is the second; repr omits it if it is 0
    return datetime.fromisoformat(value).astimezone(UTC)


def convert_to_pascal_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: convert_to_pascal_case(member) for key, member in value.items()}
    return [convert_to_pascal_case(element) for element in value] if isinstance(value, list) else value


def read_summaries(path: Path) -> list[Summary]:
    summaries = []
    for document in map(convert_to_pascal_case, parse_documents(read_text(path))):
        if isinstance(document, list):
            summaries += document
        else:
            summaries += document.get("InferenceExecutionSummaries", [document])
    return [
        {name: parse_instant(value) if name in TIMES else value for name, value in summary.items()}
        for summary in summaries
    ]


class TestJavaDouble:
    """https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/lang/Double.html#toString(double)."""

    @pytest.mark.parametrize(
        ("number", "written"),
        [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (41.5, "41.5"),
            (-123456.789, "-123456.789"),
            (0.001, "0.001"),
            (0.00099, "9.9E-4"),
            (9999999.0, "9999999.0"),
            (10000000.0, "1.0E7"),
            (1630413900.0, "1.6304139E9"),
            (1630636974.278, "1.630636974278E9"),
            (-2.5e20, "-2.5E20"),
            (1.7976931348623157e308, "1.7976931348623157E308"),
        ],
    )
    def test_examples(self, number: float, written: str) -> None:
        assert format_java_double(number) == written

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_it_reads_back_as_the_same_number(self, number: float) -> None:
        assert float(format_java_double(number)).hex() == number.hex()
        assert json.loads(format_java_double(number)) == number

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_the_notation_depends_on_the_magnitude(self, number: float) -> None:
        plain = number == 0 or 1e-3 <= abs(number) < 1e7
        shape = r"-?(0|[1-9]\d{0,6})\.(0|\d*[1-9])" if plain else r"-?[1-9]\.(0|\d*[1-9])E-?[1-9]\d*"
        assert re.fullmatch(shape, format_java_double(number))


class TestForms:
    @pytest.mark.parametrize("form", Form)
    @pytest.mark.parametrize("name", ["compressor-2", "chiller-1", "mixer-1", "compressor-1"])
    def test_every_form_reads_back_as_the_same_summaries(self, form: Form, name: str, tmp_path: Path) -> None:
        summaries = list_summaries(name, 40)
        zone = timezone(timedelta(hours=-4))
        (path,) = write_dump(tmp_path / "dump", form, [summaries], zone=zone, taken_at=END)
        assert read_summaries(path) == summaries

    def test_every_form_has_a_writer(self) -> None:
        assert list(FORMS) == list(Form)

    @pytest.mark.parametrize("form", Form)
    def test_pages_follow_each_other_in_one_file(self, form: Form, tmp_path: Path) -> None:
        summaries = list_summaries()
        (path,) = write_dump(tmp_path / "dump.gz", form, split_into_pages(summaries, 3))
        assert read_summaries(path) == summaries

    @pytest.mark.parametrize("form", WHOLE_RESPONSES)
    def test_every_page_but_the_last_names_the_next(self, form: Form, tmp_path: Path) -> None:
        paths = write_dump(
            tmp_path / "x.json.gz", form, split_into_pages(list_summaries(), 3), one_file_per_page=True
        )
        assert [path.name for path in paths] == [f"x-page-{number}.json.gz" for number in (1, 2, 3)]
        tokens = [
            convert_to_pascal_case(parse_documents(read_text(path))[0]).get("NextToken") for path in paths
        ]
        assert tokens[2] is None
        assert len({*tokens}) == 3
        assert all(token.isascii() for token in tokens[:2])

    @pytest.mark.parametrize("form", WHOLE_RESPONSES)
    def test_the_last_page_can_end_with_a_token(self, form: Form, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", form, [list_summaries()], leave_token=True)
        assert "NextToken" in convert_to_pascal_case(parse_documents(read_text(path))[0])

    def test_cli_v2_has_local_times_and_no_response_metadata(self, tmp_path: Path) -> None:
        zone = timezone(timedelta(hours=2))
        summaries = list_summaries()
        (path,) = write_dump(tmp_path / "x", Form.CLI_V2, [summaries], zone=zone, leave_token=True)
        lines = path.read_text().splitlines()
        start = summaries[0]["DataStartTime"].astimezone(zone)
        assert lines[0] == "{"
        assert lines[1].startswith('    "NextToken": "')
        assert f'            "DataStartTime": "{start:%Y-%m-%dT%H:%M:%S}+02:00",' in lines
        assert "ResponseMetadata" not in path.read_text()

    def test_cli_v1_has_epoch_seconds(self, tmp_path: Path) -> None:
        summaries = list_summaries()
        (path,) = write_dump(tmp_path / "x", Form.CLI_V1, [summaries])
        assert f'"DataEndTime": {int(summaries[0]["DataEndTime"].timestamp())}.0,' in path.read_text()

    def test_wire_is_compact_json_with_sorted_members(self, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", Form.WIRE, split_into_pages(list_summaries(), 4))
        text = path.read_text()
        assert "}{" in text  # two bodies without a separator
        assert not re.search(r"[\s]", re.sub(r'"[^"]*"', '""', text))
        assert re.search(r'"DataStartTime":1\.\d+E9,', text)
        first = parse_documents(text)[0]["InferenceExecutionSummaries"][0]
        assert list(first) == sorted(first)

    def test_boto3_json_has_str_times_and_response_metadata(self, tmp_path: Path) -> None:
        summaries = list_summaries()
        (path,) = write_dump(tmp_path / "x", Form.BOTO3_JSON, [summaries], taken_at=LATER)
        response = json.loads(path.read_text())
        assert response["InferenceExecutionSummaries"][0]["DataStartTime"] == str(
            summaries[0]["DataStartTime"]
        )
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert response["ResponseMetadata"]["HTTPHeaders"]["date"] == "Thu, 08 Oct 2026 02:00:00 GMT"

    def test_boto3_repr_is_a_python_literal(self, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", Form.BOTO3_REPR, [list_summaries()])
        ast.parse(path.read_text())
        assert re.search(
            r"'DataStartTime': datetime\.datetime\(2026, 10, [\d, ]+, tzinfo=tzutc\(\)\)", path.read_text()
        )

    def test_camel_case_has_camel_case_members(self, tmp_path: Path) -> None:
        summaries = list_summaries()
        (path,) = write_dump(tmp_path / "x", Form.CAMEL_CASE, [summaries])
        (first, *_) = json.loads(path.read_text())["inferenceExecutionSummaries"]
        assert first["dataStartTime"] == f"{summaries[0]['DataStartTime']:%Y-%m-%dT%H:%M:%S.000Z}"
        assert set(first["dataInputConfiguration"]["s3InputConfiguration"]) == {"bucket", "prefix"}

    def test_a_listing_without_executions_is_one_empty_page(self, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", Form.WIRE, split_into_pages([]))
        assert path.read_text() == '{"InferenceExecutionSummaries":[]}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dumps")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return write_history(FLEET, folder, LATER)


@pytest.fixture(scope="module")
def summaries_by_path(manifest: Manifest) -> dict[Path, list[Summary]]:
    return {
        file.path: read_summaries(file.path)
        for file in manifest.files
        if not (file.is_unreadable or file.unusable)
    }


def get_keys(summaries: list[Summary]) -> set[tuple[str, datetime]]:
    return {(summary["InferenceSchedulerArn"], summary["DataStartTime"]) for summary in summaries}


class TestHistory:
    def test_the_manifest_names_every_file_and_no_other(self, folder: Path, manifest: Manifest) -> None:
        assert sorted(file.path for file in manifest.files) == sorted(
            path for path in folder.rglob("*") if path.is_file()
        )

    def test_every_file_contains_the_executions_of_the_manifest(
        self, manifest: Manifest, summaries_by_path: dict[Path, list[Summary]]
    ) -> None:
        for file in manifest.files:
            if file.path in summaries_by_path:
                assert get_keys(summaries_by_path[file.path]) == file.executions
                assert len(summaries_by_path[file.path]) == file.summaries

    def test_all_files_together_contain_the_whole_history(
        self, summaries_by_path: dict[Path, list[Summary]]
    ) -> None:
        best: dict[tuple[str, datetime], Summary] = {}
        for summary in (summary for summaries in summaries_by_path.values() for summary in summaries):
            key = (summary["InferenceSchedulerArn"], summary["DataStartTime"])
            if best.get(key, {}).get("Status", "IN_PROGRESS") == "IN_PROGRESS":
                best[key] = summary
        truth = [execution for each in FLEET.schedulers for execution in each.executions(LATER, end=END)]
        assert best == {
            (summary["InferenceSchedulerArn"], summary["DataStartTime"]): summary for summary in truth
        }

    def test_the_manifest_lists_the_whole_history(self, manifest: Manifest) -> None:
        truth = [execution for each in FLEET.schedulers for execution in each.executions(LATER, end=END)]
        assert manifest.executions == get_keys(truth)

    def test_an_early_dump_has_executions_in_progress_that_a_later_dump_has_finished(
        self, summaries_by_path: dict[Path, list[Summary]]
    ) -> None:
        statuses: dict[tuple[str, datetime], set[str]] = {}
        for summary in (summary for summaries in summaries_by_path.values() for summary in summaries):
            statuses.setdefault((summary["InferenceSchedulerArn"], summary["DataStartTime"]), set()).add(
                summary["Status"]
            )
        settled = [seen for seen in statuses.values() if "IN_PROGRESS" in seen and len(seen) > 1]
        forever = [seen for seen in statuses.values() if seen == {"IN_PROGRESS"}]
        assert len(settled) >= 5
        assert len(forever) == 1

    def test_every_form_and_compressed_and_paged_files_occur(self, manifest: Manifest) -> None:
        assert {file.form for file in manifest.files} == set(Form)
        names = [file.path.name for file in manifest.files]
        assert any(name.endswith(".gz") for name in names)
        assert any("-page-2" in name for name in names)
        assert any(
            file.form is Form.CLI_V2 and len(parse_documents(read_text(file.path))) > 1
            for file in manifest.files
            if not file.is_unreadable
        )

    def test_json_lines_files_contain_several_schedulers(self, manifest: Manifest) -> None:
        mixed = [file for file in manifest.files if len({arn for arn, _ in file.executions}) > 1]
        assert {file.form for file in mixed} == {Form.JSON_LINES}

    def test_a_deleted_scheduler_is_in_no_dump_after_its_deletion(self, manifest: Manifest) -> None:
        for scheduler in FLEET.schedulers:
            if scheduler.deleted_at is not None:
                files = [
                    file for file in manifest.files if scheduler.arn in {arn for arn, _ in file.executions}
                ]
                assert files
                for file in files:
                    taken_at = datetime.strptime(file.path.name[:16], "%Y-%m-%dT%H%MZ").replace(tzinfo=UTC)
                    assert taken_at < scheduler.deleted_at

    def test_one_dump_is_incomplete(self, manifest: Manifest) -> None:
        (path,) = manifest.incomplete
        assert parse_documents(read_text(path))[-1]["NextToken"]

    def test_no_other_listing_ends_with_a_token(self, manifest: Manifest) -> None:
        for file in manifest.files:
            if not file.is_unreadable and file.form in WHOLE_RESPONSES:
                last = convert_to_pascal_case(parse_documents(read_text(file.path))[-1])
                assert ("NextToken" in last) == file.ends_with_token
                follower = re.sub(r"page-(\d+)", lambda page: f"page-{int(page[1]) + 1}", str(file.path))
                followed = follower != str(file.path) and Path(follower).exists()
                assert file.is_incomplete == (file.ends_with_token and not followed)

    def test_one_file_is_unreadable(self, manifest: Manifest) -> None:
        (path,) = manifest.unreadable
        with pytest.raises(json.JSONDecodeError):
            json.loads(path.read_text())

    def test_one_summary_is_unusable(self, manifest: Manifest) -> None:
        (path,) = manifest.unusable
        missing = [
            document for document in parse_documents(read_text(path)) if "DataStartTime" not in document
        ]
        assert len(missing) == 1
        assert [file.unusable for file in manifest.files if file.path == path] == [1]

    def test_the_same_seed_writes_the_same_bytes(
        self, folder: Path, manifest: Manifest, tmp_path: Path
    ) -> None:
        again = write_history(build_fleet(3, HISTORY), tmp_path, LATER)
        assert len(again.files) == len(manifest.files)
        for file in again.files:
            assert file.path.read_bytes() == (folder / file.path.relative_to(tmp_path)).read_bytes(), (
                file.path
            )

    def test_an_early_clock_writes_only_the_executions_until_then(self, tmp_path: Path) -> None:
        early = HISTORY.at(0.3)
        written = write_history(FLEET, tmp_path, early).executions
        assert written == get_keys(list(FLEET.executions(early)))


class TestCommandLine:
    def test_dump_writes_files_and_prints_a_summary(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert (
            main(["dump", "--to", str(tmp_path), "--days", "1", "--until", "2026-03-01T02:00:00+02:00"]) == 0
        )
        output = capsys.readouterr().out
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert f"{len(files)} files in {tmp_path}" in output
        assert "2026-02-28 00:00Z to 2026-03-01 00:00Z" in output
        assert "stays IN_PROGRESS forever" in output

    def test_dump_without_defects_up_to_a_clock_has_only_usable_files(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock = "2026-10-07T00:00:00Z"
        assert (
            main(["dump", "--to", str(tmp_path), "--days", "2", "--clock", clock, "--without-defects"]) == 0
        )
        output = capsys.readouterr().out
        assert "Defects" not in output
        assert "2026-10-06 00:00Z to 2026-10-07 00:00Z" in output
        assert not (tmp_path / "by-hand").exists()
        assert list(tmp_path.rglob("*2026-10-07T0000Z*"))
        assert not list(tmp_path.rglob("*2026-10-08*"))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--clock", "noon"], "'noon' is not a time"),
            (["--until", "yesterday"], "'yesterday' is not a time; write it like 2026-10-08T00:00:00Z"),
            (["--until", "2026-10-08T00:00:00"], "has no time zone"),
            (["--until", "0001-01-01T00:00:00Z"], "is not between 2000 and 2100"),
            (["--days", "0"], "'0' is not a number of days"),
            (["--days", "many"], "'many' is not a number of days"),
            (["--seed", "x"], "invalid int value: 'x'"),
            (["--to", __file__, "--days", "1"], "cannot write to"),
        ],
    )
    def test_an_invalid_argument_is_rejected_with_a_reason(
        self, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit_:
            main(["dump", "--to", str(tmp_path), *arguments])
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err

    def test_help_contains_an_example(self) -> None:
        help_text = subprocess.run(
            [sys.executable, "-m", "sandbox", "--help"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        assert "python -m sandbox dump --to dumps/" in help_text


def test_a_reader_that_closes_the_pipe_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def close() -> None:
        raise BrokenPipeError

    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr(program, "_run_dump", lambda _: close())
        assert program.main(["dump", "--to", str(tmp_path / "dumps")]) == 0
