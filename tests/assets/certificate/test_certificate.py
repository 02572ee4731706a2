"""The certificate: every expected execution once, every gap, and a seal that finds every mutation."""

import ast
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.certificate import verifier
from assets.certificate.evidence import Selection
from assets.certificate.statements import find_gaps
from assets.certificate.summary import CertificateSummary, Gap, UnknownRange
from assets.health.slots import REASONS
from assets.health.slots import Slots as DaySlots
from assets.tables import ARCHIVE_FILES
from pipelines.operations.certification import certify, find_changes, load_certificate
from resources.config.settings import Settings, load_settings
from resources.errors import ConfigurationError
from resources.lake.lake import Lake
from tests.support.certificate_lake import FIRST, HOUR, STATUSES, build_arn, start_of, write_lake
from tests.support.machine_lake import write_rows

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 4
SELECTION = Selection(FIRST, FIRST + timedelta(DAYS - 1))
Slots = Mapping[tuple[int, int], str]
SLOTS = [(day, hour) for day in range(DAYS) for hour in range(24)]


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    (tmp_path / "ledger.toml").write_text('[[sources]]\nkind = "archive"\nuri = "dumps/"\n')
    return load_settings({}, tmp_path)


@pytest.fixture
def sealed(tmp_path: Path, project: Settings) -> tuple[Path, Lake]:
    """A certificate of a lake with two gaps."""
    slots = {slot: "SUCCESS" for slot in SLOTS if slot not in {(0, 3), (1, 23), (2, 0)}}
    lake = write_lake(str(tmp_path / "lake"), {"pump-1": slots, "fan|2": {(0, 0): "FAILED"}}, DAYS)
    path = tmp_path / "certificate.json"
    certify(lake, project, SELECTION, NOW, [path], iter)
    return path, lake


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def join_slots(slots: Iterable[tuple[int, int]]) -> list[list[datetime]]:
    """Return start and end of each maximal range of hours."""
    ranges: list[list[datetime]] = []
    for slot in slots:
        if ranges and ranges[-1][1] == start_of(*slot):
            ranges[-1][1] += HOUR
        else:
            ranges.append([start_of(*slot), start_of(*slot) + HOUR])
    return ranges


def parse_times(ranges: Iterable[Gap | UnknownRange]) -> list[list[datetime]]:
    return [[datetime.fromisoformat(item.start), datetime.fromisoformat(item.end)] for item in ranges]


@settings(deadline=None, max_examples=6)
@given(st.dictionaries(st.sampled_from(SLOTS), st.sampled_from(STATUSES)))
def test_slots_and_gaps_equal_a_plain_recomputation(
    tmp_path_factory: pytest.TempPathFactory, recorded: Slots
) -> None:
    folder = tmp_path_factory.mktemp("certificate")
    lake = write_lake(str(folder / "lake"), {"pump-1": recorded}, DAYS)
    result = certify(lake, load_settings({}, folder), SELECTION, NOW, [folder / "c.json"], iter)

    reasons = {"SUCCESS": "succeeded", "FAILED": "failed_other", "IN_PROGRESS": "unknown"}
    held = sorted(recorded)
    between = [slot for slot in SLOTS if held and held[0] <= slot <= held[-1]]
    expected = [reasons.get(recorded.get(slot, ""), "unknown") for slot in between]
    assert result.page.summary.reasons == Counter(expected)
    gaps = join_slots(slot for slot, reason in zip(between, expected, strict=True) if reason == "unknown")
    assert parse_times(result.page.summary.gaps) == gaps
    outside = join_slots(slot for slot in SLOTS if slot not in between)
    assert parse_times(result.page.summary.unknown_ranges) == outside
    assert list(verifier.find_problems(folder / "c.json", folder / "lake", result.page.digest)) == []


def test_a_gap_has_windows_of_one_length_that_follow_each_other_also_across_days() -> None:
    days = [
        [(1320, 1380), (1380, 1410), (1410, 1440)],  # start and end of each window in minutes
        [(1440, 1470), (1500, 1530), (2850, 2880)],
        [(2880, 2940)],
    ]
    summary = CertificateSummary(len(days))
    for windows in days:
        start, end = np.array(windows, np.int64).T * 60_000
        gaps = list(find_gaps(DaySlots(start, end, np.full(len(windows), REASONS.index("unknown")))))
        scheduler = {"arn": "arn:1", "name": "pump-1", "slots": {"unknown": len(windows)}, "gaps": gaps}
        summary.add({"subject": [], "predicate": {"schedulers": [scheduler], "results": {}, "sources": []}})

    assert [(gap.slots, gap.minutes) for gap in summary.gaps] == [(1, 60), (3, 30), (1, 30), (1, 30), (1, 60)]


def test_a_certificate_of_the_same_lake_differs_in_one_line(
    tmp_path: Path, project: Settings, sealed: tuple[Path, Lake]
) -> None:
    path, lake = sealed
    certify(lake, project, SELECTION, NOW + timedelta(days=30), [tmp_path / "later.json"], iter)

    pairs = zip(
        path.read_text().splitlines(), (tmp_path / "later.json").read_text().splitlines(), strict=True
    )
    assert [line[:11] for line, later in pairs if line != later] == ['"generated"']


def test_a_day_that_is_not_recorded_has_a_statement(sealed: tuple[Path, Lake], project: Settings) -> None:
    path, lake = sealed
    certify(lake, project, Selection(FIRST, FIRST + timedelta(DAYS)), NOW, [path], iter)

    last = read(path)["predicate"]["days"][-1]
    assert last["subject"] == []
    day = {"from": "2026-09-05T00:00:00Z", "to": "2026-09-06T00:00:00Z"}
    for scheduler in last["predicate"]["schedulers"]:
        assert scheduler["slots"] == {}
        assert scheduler["expectation_not_known"] == [{"reason": "after_last_evidence", **day}]


def test_a_selection_names_its_schedulers_only(sealed: tuple[Path, Lake], project: Settings) -> None:
    path, lake = sealed
    certify(lake, project, Selection(FIRST, FIRST, ("pump-*",)), NOW, [path], iter)

    predicate = read(path)["predicate"]
    assert [scheduler["name"] for scheduler in predicate["schedulers"]] == ["pump-1"]
    assert predicate["days"][0]["predicate"]["schedulers"][0]["arn"] == build_arn("pump-1")
    assert list(verifier.find_problems(path, Path(lake.uri))) == []


def test_the_documents_for_people_escape_names_and_list_the_gaps(
    tmp_path: Path, sealed: tuple[Path, Lake], project: Settings
) -> None:
    _, lake = sealed
    certify(lake, project, SELECTION, NOW, [tmp_path / "c.html", tmp_path / "c.md"], iter)

    markdown, html = (tmp_path / "c.md").read_text(), (tmp_path / "c.html").read_text()
    assert "| pump-1 | 2026-09-01T03:00:00Z | 2026-09-01T04:00:00Z | 1 | unknown |" in markdown
    assert "| pump-1 | 2026-09-02T23:00:00Z | 2026-09-03T01:00:00Z | 2 | unknown |" in markdown
    assert r"| fan\|2 | 1 | 1 | 0 | 0 |" in markdown
    assert r"| fan\|2 | 2026-09-01T01:00:00Z | 2026-09-05T00:00:00Z | after the last evidence" in markdown
    for text in (markdown, html):
        assert "3 of 97 expected executions are not known" in text
        assert "In one further period, the expected executions cannot be known." in text
    assert "<script" not in html


def test_a_certificate_names_the_saved_responses_that_are_incomplete(
    tmp_path: Path, sealed: tuple[Path, Lake], project: Settings
) -> None:
    path, lake = sealed
    assert read(path)["predicate"]["incomplete_files"] == []
    row = {"size_bytes": 1, "executions": 1, "rejected": 0, "reader_version": 1}
    errors = {"a.json": None, "b|.json": "is empty", "c.json": "is truncated"}
    write_rows(lake, ARCHIVE_FILES, [row | {"uri": uri, "error": error} for uri, error in errors.items()])

    certify(lake, project, SELECTION, NOW, [path, tmp_path / "c.html", tmp_path / "c.md"], iter)

    incomplete = [{"uri": "b|.json", "error": "is empty"}, {"uri": "c.json", "error": "is truncated"}]
    assert read(path)["predicate"]["incomplete_files"] == incomplete
    assert r"the first is b\|.json: is empty" in (tmp_path / "c.md").read_text()
    assert "2 saved responses not read completely" in (tmp_path / "c.html").read_text()


def test_verify_names_what_changed(sealed: tuple[Path, Lake], project: Settings) -> None:
    path, lake = sealed
    assert list(find_changes(lake, project, path, read(path), NOW, iter)) == []

    slots = dict.fromkeys(SLOTS, "SUCCESS")
    write_lake(lake.uri, {"pump-1": slots, "fan|2": {(0, 0): "FAILED"}}, DAYS)
    changes = list(find_changes(lake, project, path, read(path), NOW, iter))
    assert "2026-09-01: pump-1: 23 succeeded, 1 unknown, now 24 succeeded" in changes
    name = "inference_executions/data_date=2026-09-03/part-0.parquet"
    assert f"2026-09-03: {name} changed" in changes
    assert not [change for change in changes if change.startswith("2026-09-04")]


@pytest.mark.parametrize("text", ["", "[]", '{"predicate": 3}', "\xff", '{"predicate": {"days": []}}'])
def test_verify_rejects_what_is_no_certificate(
    tmp_path: Path, sealed: tuple[Path, Lake], project: Settings, text: str
) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="Cannot read the certificate"):
        list(find_changes(sealed[1], project, other, load_certificate(other), NOW, iter))


def test_an_unknown_ending_is_rejected_before_anything_is_read(project: Settings) -> None:
    with pytest.raises(ConfigurationError, match="ending"):
        certify(Lake("/nonexistent"), project, SELECTION, NOW, [Path("c.pdf")], iter)


def test_the_verifier_is_short_and_needs_only_the_standard_library(
    sealed: tuple[Path, Lake],
) -> None:
    path, lake = sealed
    script = path.with_name("verify_certificate.py")
    source = script.read_text()
    assert len(source.splitlines()) <= 120
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    roots |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {root.partition(".")[0] for root in roots} <= sys.stdlib_module_names

    command = [sys.executable, "-I", str(script), str(path), lake.uri]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "verified: the certificate and the lake agree\n")
    (Path(lake.uri) / "inference_schedulers/part-0.parquet").unlink()
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (1, "inference_schedulers/part-0.parquet: the file is missing\n")


def mutate_file(draw: random.Random, lake: Path) -> str:
    files = sorted(lake.glob("*/**/*.parquet"))
    file = draw.choice(files)
    kind = draw.choice(["bit", "remove", "swap", "add"])
    if kind == "bit":
        content = bytearray(file.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
    elif kind == "remove":
        file.unlink()
    elif kind == "add":
        shutil.copy(file, file.with_name(f"part-{draw.randrange(1, 99)}.parquet"))
    else:
        other = draw.choice([other for other in files if other.read_bytes() != file.read_bytes()])
        first, second = file.read_bytes(), other.read_bytes()
        file.write_bytes(second)
        other.write_bytes(first)
    return f"{kind} {file}"


def mutate_certificate(draw: random.Random, path: Path) -> str:
    kind = draw.choice(["bit", "remove day", "swap days", "count", "repeat day"])
    if kind == "bit":
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        return kind
    certificate = read(path)
    days = certificate["predicate"]["days"]
    number = draw.randrange(len(days))
    if kind == "remove day":
        del days[number]
    elif kind == "repeat day":
        days.insert(number, days[number])
    elif kind == "swap days":
        other = draw.choice([other for other in range(len(days)) if other != number])
        days[number], days[other] = days[other], days[number]
    else:
        slots = draw.choice(days[number]["predicate"]["schedulers"])["slots"]
        reason = draw.choice([*sorted(slots), "failed_other"])
        slots[reason] = slots.get(reason, 0) + 1
    path.write_text(json.dumps(certificate))
    return kind


def check_mutations(sealed: tuple[Path, Lake], count: int, seed: int) -> None:
    path, lake = sealed
    root = Path(lake.uri)
    draw = random.Random(seed)  # noqa: S311
    contents = {file: file.read_bytes() for file in [path, *root.glob("*/**/*.parquet")]}
    for number in range(count):
        is_file = draw.random() < 0.5
        what = mutate_file(draw, root) if is_file else mutate_certificate(draw, path)
        assert list(verifier.find_problems(path, root)), (number, what)
        for added in {*root.glob("*/**/*.parquet")} - contents.keys():
            added.unlink()
        for file, content in contents.items():
            if not file.exists() or file.read_bytes() != content:
                file.write_bytes(content)


def test_the_verifier_finds_every_mutation(sealed: tuple[Path, Lake]) -> None:
    check_mutations(sealed, 200, seed=1)


@pytest.mark.long
def test_the_verifier_finds_ten_thousand_mutations(sealed: tuple[Path, Lake]) -> None:
    check_mutations(sealed, 10_000, seed=2)


def test_a_certificate_that_was_written_again_is_found_by_the_kept_digest(
    sealed: tuple[Path, Lake], project: Settings
) -> None:
    path, lake = sealed
    kept = verifier.get_digest(read(path))
    write_lake(lake.uri, {"pump-1": {(0, 0): "SUCCESS"}}, DAYS)
    certify(lake, project, SELECTION, NOW, [path], iter)

    assert list(verifier.find_problems(path, Path(lake.uri))) == []
    assert list(verifier.find_problems(path, Path(lake.uri), kept)) == [
        "the digest of the days is not the one that you kept"
    ]


@pytest.mark.parametrize("day", [3, {"predicate": 3}])
def test_verify_rejects_a_certificate_with_an_invalid_day(
    sealed: tuple[Path, Lake], project: Settings, day: Any
) -> None:
    path, lake = sealed
    certificate = read(path)
    date_of_day = certificate["predicate"]["days"][0]["predicate"]["date"]
    certificate["predicate"]["days"][0] = (
        {"predicate": {"date": date_of_day, "previous": None, "schedulers": 3}}
        if isinstance(day, dict)
        else day
    )
    with pytest.raises(ConfigurationError, match="it is not one, or it is damaged"):
        list(find_changes(lake, project, path, certificate, NOW, iter))


def test_a_certificate_that_cannot_be_read_or_written_names_the_file(
    sealed: tuple[Path, Lake], project: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="Cannot read the certificate: it is not a file"):
        load_certificate(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Cannot write the certificate") as caught:
        certify(sealed[1], project, SELECTION, NOW, [tmp_path / "file" / "c.json"], iter)
    assert str(tmp_path / "file" / "c.json") in caught.value.where
