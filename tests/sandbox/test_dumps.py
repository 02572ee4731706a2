"""Dumps: each form as its tool writes it, and a folder that holds what its manifest says."""

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


def some_summaries(name: str = "compressor-2", count: int = 7) -> list[Summary]:
    one = next(one for one in FLEET.schedulers if one.name == name)
    return sort_newest_first(one.executions(LATER, end=END))[:count]


def text_of(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def documents(text: str) -> list[Any]:
    """All JSON documents or Python literals that follow each other in a text."""
    if "datetime.datetime(" in text:
        quoted = re.sub(r"datetime\.datetime\(([\d, ]+), tzinfo=tzutc\(\)\)", r"'@\1'", text)
        return [ast.literal_eval(line) for line in quoted.splitlines()]
    decoder, position, found = json.JSONDecoder(), 0, []
    while position < len(text):
        document, position = decoder.raw_decode(text, position)
        found.append(document)
        position += len(text[position:]) - len(text[position:].lstrip())
    return found


def instant(value: Any) -> datetime:
    if isinstance(value, float):
        return datetime.fromtimestamp(value, UTC)
    if value.startswith("@"):
        year, month, day, hour, minute, *rest = map(int, value[1:].split(","))
        return datetime(
            year, month, day, hour, minute, sum(rest), tzinfo=UTC
        )  # the rest is the second, where it is not 0
    return datetime.fromisoformat(value).astimezone(UTC)


def pascal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: pascal(member) for key, member in value.items()}
    return [pascal(element) for element in value] if isinstance(value, list) else value


def summaries_in(path: Path) -> list[Summary]:
    found = []
    for document in map(pascal, documents(text_of(path))):
        if isinstance(document, list):
            found += document
        else:
            found += document.get("InferenceExecutionSummaries", [document])
    return [
        {name: instant(value) if name in TIMES else value for name, value in one.items()} for one in found
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
    def test_its_notation_follows_the_size(self, number: float) -> None:
        plain = number == 0 or 1e-3 <= abs(number) < 1e7
        shape = r"-?(0|[1-9]\d{0,6})\.(0|\d*[1-9])" if plain else r"-?[1-9]\.(0|\d*[1-9])E-?[1-9]\d*"
        assert re.fullmatch(shape, format_java_double(number))


class TestForms:
    @pytest.mark.parametrize("form", Form)
    @pytest.mark.parametrize("name", ["compressor-2", "chiller-1", "mixer-1", "compressor-1"])
    def test_every_form_reads_back_as_the_same_summaries(self, form: Form, name: str, tmp_path: Path) -> None:
        summaries = some_summaries(name, 40)
        zone = timezone(timedelta(hours=-4))
        (path,) = write_dump(tmp_path / "dump", form, [summaries], zone=zone, taken_at=END)
        assert summaries_in(path) == summaries

    def test_every_form_has_a_writer(self) -> None:
        assert list(FORMS) == list(Form)

    @pytest.mark.parametrize("form", Form)
    def test_pages_follow_each_other_in_one_file(self, form: Form, tmp_path: Path) -> None:
        summaries = some_summaries()
        (path,) = write_dump(tmp_path / "dump.gz", form, split_into_pages(summaries, 3))
        assert summaries_in(path) == summaries

    @pytest.mark.parametrize("form", WHOLE_RESPONSES)
    def test_every_page_but_the_last_names_the_next(self, form: Form, tmp_path: Path) -> None:
        paths = write_dump(
            tmp_path / "x.json.gz", form, split_into_pages(some_summaries(), 3), one_file_per_page=True
        )
        assert [path.name for path in paths] == [f"x-page-{number}.json.gz" for number in (1, 2, 3)]
        tokens = [pascal(documents(text_of(path))[0]).get("NextToken") for path in paths]
        assert tokens[2] is None
        assert len({*tokens}) == 3
        assert all(token.isascii() for token in tokens[:2])

    @pytest.mark.parametrize("form", WHOLE_RESPONSES)
    def test_a_token_can_be_left_over(self, form: Form, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", form, [some_summaries()], leave_token=True)
        assert "NextToken" in pascal(documents(text_of(path))[0])

    def test_cli_v2(self, tmp_path: Path) -> None:
        zone = timezone(timedelta(hours=2))
        summaries = some_summaries()
        (path,) = write_dump(tmp_path / "x", Form.CLI_V2, [summaries], zone=zone, leave_token=True)
        lines = path.read_text().splitlines()
        start = summaries[0]["DataStartTime"].astimezone(zone)
        assert lines[0] == "{"
        assert lines[1].startswith('    "NextToken": "')
        assert f'            "DataStartTime": "{start:%Y-%m-%dT%H:%M:%S}+02:00",' in lines
        assert "ResponseMetadata" not in path.read_text()

    def test_cli_v1(self, tmp_path: Path) -> None:
        summaries = some_summaries()
        (path,) = write_dump(tmp_path / "x", Form.CLI_V1, [summaries])
        assert f'"DataEndTime": {int(summaries[0]["DataEndTime"].timestamp())}.0,' in path.read_text()

    def test_wire(self, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", Form.WIRE, split_into_pages(some_summaries(), 4))
        text = path.read_text()
        assert "}{" in text  # two bodies, and nothing between them
        assert not re.search(r"[\s]", re.sub(r'"[^"]*"', '""', text))
        assert re.search(r'"DataStartTime":1\.\d+E9,', text)
        first = documents(text)[0]["InferenceExecutionSummaries"][0]
        assert list(first) == sorted(first)

    def test_boto3_json(self, tmp_path: Path) -> None:
        summaries = some_summaries()
        (path,) = write_dump(tmp_path / "x", Form.BOTO3_JSON, [summaries], taken_at=LATER)
        response = json.loads(path.read_text())
        assert response["InferenceExecutionSummaries"][0]["DataStartTime"] == str(
            summaries[0]["DataStartTime"]
        )
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert response["ResponseMetadata"]["HTTPHeaders"]["date"] == "Thu, 08 Oct 2026 02:00:00 GMT"

    def test_boto3_repr_is_python(self, tmp_path: Path) -> None:
        (path,) = write_dump(tmp_path / "x", Form.BOTO3_REPR, [some_summaries()])
        ast.parse(path.read_text())
        assert re.search(
            r"'DataStartTime': datetime\.datetime\(2026, 10, [\d, ]+, tzinfo=tzutc\(\)\)", path.read_text()
        )

    def test_camel_case(self, tmp_path: Path) -> None:
        summaries = some_summaries()
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
def held(manifest: Manifest) -> dict[Path, list[Summary]]:
    return {
        file.path: summaries_in(file.path)
        for file in manifest.files
        if not (file.is_unreadable or file.unusable)
    }


def keys(summaries: list[Summary]) -> set[tuple[str, datetime]]:
    return {(one["InferenceSchedulerArn"], one["DataStartTime"]) for one in summaries}


class TestHistory:
    def test_the_manifest_names_every_file_and_no_other(self, folder: Path, manifest: Manifest) -> None:
        assert sorted(file.path for file in manifest.files) == sorted(
            path for path in folder.rglob("*") if path.is_file()
        )

    def test_every_file_holds_what_the_manifest_says(
        self, manifest: Manifest, held: dict[Path, list[Summary]]
    ) -> None:
        for file in manifest.files:
            if file.path in held:
                assert keys(held[file.path]) == file.executions
                assert len(held[file.path]) == file.summaries

    def test_together_they_hold_the_whole_history(self, held: dict[Path, list[Summary]]) -> None:
        best: dict[tuple[str, datetime], Summary] = {}
        for one in (one for summaries in held.values() for one in summaries):
            key = (one["InferenceSchedulerArn"], one["DataStartTime"])
            if best.get(key, {}).get("Status", "IN_PROGRESS") == "IN_PROGRESS":
                best[key] = one
        truth = [one for each in FLEET.schedulers for one in each.executions(LATER, end=END)]
        assert best == {(one["InferenceSchedulerArn"], one["DataStartTime"]): one for one in truth}

    def test_the_manifest_knows_the_whole_history(self, manifest: Manifest) -> None:
        truth = [one for each in FLEET.schedulers for one in each.executions(LATER, end=END)]
        assert manifest.executions == keys(truth)

    def test_an_early_dump_shows_in_progress_what_a_later_one_shows_settled(
        self, held: dict[Path, list[Summary]]
    ) -> None:
        statuses: dict[tuple[str, datetime], set[str]] = {}
        for one in (one for summaries in held.values() for one in summaries):
            statuses.setdefault((one["InferenceSchedulerArn"], one["DataStartTime"]), set()).add(
                one["Status"]
            )
        settled = [seen for seen in statuses.values() if "IN_PROGRESS" in seen and len(seen) > 1]
        forever = [seen for seen in statuses.values() if seen == {"IN_PROGRESS"}]
        assert len(settled) >= 5
        assert len(forever) == 1

    def test_every_form_occurs_and_so_do_compressed_and_page_wise_files(self, manifest: Manifest) -> None:
        assert {file.form for file in manifest.files} == set(Form)
        names = [file.path.name for file in manifest.files]
        assert any(name.endswith(".gz") for name in names)
        assert any("-page-2" in name for name in names)
        assert any(
            file.form is Form.CLI_V2 and len(documents(text_of(file.path))) > 1
            for file in manifest.files
            if not file.is_unreadable
        )

    def test_one_file_holds_several_schedulers(self, manifest: Manifest) -> None:
        mixed = [file for file in manifest.files if len({arn for arn, _ in file.executions}) > 1]
        assert {file.form for file in mixed} == {Form.JSON_LINES}

    def test_a_deleted_scheduler_is_in_no_dump_after_its_deletion(self, manifest: Manifest) -> None:
        for one in FLEET.schedulers:
            if one.deleted_at is not None:
                files = [file for file in manifest.files if one.arn in {arn for arn, _ in file.executions}]
                assert files
                for file in files:
                    taken_at = datetime.strptime(file.path.name[:16], "%Y-%m-%dT%H%MZ").replace(tzinfo=UTC)
                    assert taken_at < one.deleted_at

    def test_one_dump_is_incomplete(self, manifest: Manifest) -> None:
        (path,) = manifest.incomplete
        assert documents(text_of(path))[-1]["NextToken"]

    def test_no_other_listing_ends_with_a_token(self, manifest: Manifest) -> None:
        for file in manifest.files:
            if not file.is_unreadable and file.form in WHOLE_RESPONSES:
                last = pascal(documents(text_of(file.path))[-1])
                assert ("NextToken" in last) == file.ends_with_token
                follower = re.sub(r"page-(\d+)", lambda page: f"page-{int(page[1]) + 1}", str(file.path))
                followed = follower != str(file.path) and Path(follower).exists()
                assert file.is_incomplete == (file.ends_with_token and not followed)

    def test_one_file_cannot_be_read(self, manifest: Manifest) -> None:
        (path,) = manifest.unreadable
        with pytest.raises(json.JSONDecodeError):
            json.loads(path.read_text())

    def test_one_summary_cannot_be_used(self, manifest: Manifest) -> None:
        (path,) = manifest.unusable
        missing = [one for one in documents(text_of(path)) if "DataStartTime" not in one]
        assert len(missing) == 1
        assert [file.unusable for file in manifest.files if file.path == path] == [1]

    def test_the_bytes_are_the_same_each_time(self, folder: Path, manifest: Manifest, tmp_path: Path) -> None:
        again = write_history(build_fleet(3, HISTORY), tmp_path, LATER)
        assert len(again.files) == len(manifest.files)
        for file in again.files:
            assert file.path.read_bytes() == (folder / file.path.relative_to(tmp_path)).read_bytes(), (
                file.path
            )

    def test_an_early_clock_writes_what_was_known_then(self, tmp_path: Path) -> None:
        early = HISTORY.at(0.3)
        known = write_history(FLEET, tmp_path, early).executions
        assert known == keys(list(FLEET.executions(early)))


class TestCommandLine:
    def test_dump_writes_and_tells(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert (
            main(["dump", "--to", str(tmp_path), "--days", "1", "--until", "2026-03-01T02:00:00+02:00"]) == 0
        )
        told = capsys.readouterr().out
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert f"{len(files)} files in {tmp_path}" in told
        assert "2026-02-28 00:00Z to 2026-03-01 00:00Z" in told
        assert "stays IN_PROGRESS forever" in told

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--until", "yesterday"], "'yesterday' is not a time; write it like 2026-10-08T00:00:00Z"),
            (["--until", "2026-10-08T00:00:00"], "has no time zone"),
            (["--until", "0001-01-01T00:00:00Z"], "is not between 2000 and 2100"),
            (["--days", "0"], "'0' is not a number of days"),
            (["--days", "many"], "'many' is not a number of days"),
            (["--seed", "x"], "invalid int value: 'x'"),
            (["--to", __file__, "--days", "1"], "cannot write to"),
        ],
    )
    def test_a_mistake_is_told_in_a_sentence(
        self, arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit_:
            main(["dump", "--to", str(tmp_path), *arguments])
        assert exit_.value.code == 2
        assert said in capsys.readouterr().err

    def test_help_teaches_by_an_example(self) -> None:
        told = subprocess.run(
            [sys.executable, "-m", "sandbox", "--help"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout
        assert "python -m sandbox dump --to dumps/" in told
