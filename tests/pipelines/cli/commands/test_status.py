"""`ledger status`: the states of days, the actions needed and their commands."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from rich.console import Console

from assets.checks.run_outcomes import UnansweredSource
from assets.executions.day_status import DayState
from assets.tables import ARCHIVE_FILES, EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.cli.commands import status
from pipelines.definitions import build_defs
from pipelines.operations import lake_status
from resources.config.settings import ApiSettings, Settings
from resources.lake.lake import Lake
from resources.sources.archive import ArchiveSource
from sandbox.service import Handle
from tests.support.command_line import RunLedger, build_api_toml, record_complete_day

SOURCE = build_api_toml("http://127.0.0.1:9")  # no server; `ledger status` calls no service
DAYS = [date(2026, 9, 1) + timedelta(days=n) for n in range(30)]
NAMES = ("fan-1", "pump-1", "pump-2")


@pytest.fixture
def september(lake: Lake, settings: Callable[..., Path]) -> Lake:
    """Write a settled month of three schedulers."""
    settings(SOURCE, start="2026-09-01", end="2026-10-01")
    for day in DAYS:
        record_complete_day(lake, day, NAMES)
    return lake


@pytest.mark.usefixtures("september")
def test_a_settled_lake_needs_no_action(ledger: RunLedger) -> None:
    done = ledger("status")

    assert done.code == 0, done.err
    assert "=" * 30 in done.out
    assert "No action needed." in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines()[1:])


def record_file(
    lake: Lake,
    first: datetime | None,
    last: datetime | None,
    uri: str = "page.json",
    error: str | None = None,
) -> None:
    """Record a saved response that was read, but whose days were not extracted."""
    row = dict.fromkeys(ARCHIVE_FILES.schema.names) | {
        "uri": uri,
        "error": error,
        "size_bytes": 1,
        "executions": 1,
        "rejected": 0,
        "reader_version": 1,
        "recorded_at": datetime(2026, 10, 8, tzinfo=UTC),
        "first_data_start_time": first,
        "last_data_start_time": last,
        "merged_dates": [],
    }
    added = pa.Table.from_pylist([row], schema=ARCHIVE_FILES.schema)
    lake.update(ARCHIVE_FILES, None, lambda existing: pa.concat_tables([existing, added]))


@pytest.mark.usefixtures("september")
def test_saved_responses_that_were_not_read_completely_are_shown(
    ledger: RunLedger, lake: Lake, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    file.touch()
    record_file(lake, None, None, str(file), "line 1 is truncated")
    record_file(lake, None, None, str(tmp_path / "removed.json"), "empty")

    done = ledger("status")
    assert done.code == 0
    assert f"Not read completely: 1 saved response, {file}: line 1 is truncated. Save it again" in done.text
    assert "No other action needed." in done.text

    record_file(lake, None, None, "s3://dumps/b.json", "no JSON")
    assert ledger("status", "--json").json["damaged_files"] == [
        {"uri": str(file), "reason": "line 1 is truncated"},
        {"uri": "s3://dumps/b.json", "reason": "no JSON"},
    ]
    done = ledger("status")
    assert "Not read completely: 2 saved responses, the first is" in done.text
    assert 'ledger sql "SELECT uri, error FROM archive_files WHERE error IS NOT NULL"' in done.text


def test_without_a_service_the_default_range_is_the_span_of_the_data(
    ledger: RunLedger, lake: Lake, settings: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "dumps").mkdir()
    archive = 'kind = "archive"\nuri = "dumps/"'
    ended = 'kind = "api"\nregion = "eu-west-1"\nservice_end = "2026-10-07"'
    for day in DAYS[10:12]:
        record_complete_day(lake, day, NAMES)
    record_file(lake, datetime(2026, 9, 14, 23, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
    settings(archive, ended, start="2025-01-01", end=None)

    answer = ledger("status", "--json").json

    assert (answer["from"], answer["to"]) == ("2026-09-11", "2026-09-14")
    (message,) = answer["outside_history"]
    assert "the latest on 9999-12-31 in page.json. They are in the future" in message
    assert answer["never_extracted_days"] == ["2026-09-13", "2026-09-14"]
    assert "Days that are extracted or in saved responses: 2026-09-11 to 2026-09-14" in ledger("status").text
    assert ledger("status", "--from", "2026-09-01", "--json").json["from"] == "2026-09-01"

    settings(archive, SOURCE, start="2025-01-01", end=None)
    assert ledger("status", "--json").json["from"] == "2025-01-01"


def test_saved_responses_that_reach_beyond_the_recorded_days_are_shown(
    ledger: RunLedger, lake: Lake, settings: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "dumps").mkdir()
    record_complete_day(lake, DAYS[0], NAMES)
    record_file(lake, datetime(2026, 9, 1, 23, tzinfo=UTC), datetime(2026, 9, 4, 23, tzinfo=UTC))
    archive = 'kind = "archive"\nuri = "dumps/"'

    settings(archive, start="2026-09-01", end=None)
    done = ledger("status")

    assert done.code == 1
    assert "never extracted: 2026-09-02 to 2026-09-04" in done.text

    settings(archive, start="2026-09-01", end="2026-09-02")
    done = ledger("status")

    assert done.code == 0
    assert "No action needed for the days of the history." in done.text
    assert "Not recorded: Executions after the last partition, from 2026-09-02 on" in done.text
    assert 'set [history] end_date = "2026-09-05"' in done.text


def test_days_that_need_action_come_with_the_command_that_fixes_them(
    ledger: RunLedger, september: Lake
) -> None:
    for day in (DAYS[3], DAYS[4]):
        Path(september.path(INFERENCE_EXECUTIONS, day)).unlink()
        Path(september.path(EXTRACTION_COVERAGE, day)).unlink()
    Path(september.path(EXTRACTION_COVERAGE, DAYS[10])).unlink()
    record_complete_day(september, DAYS[10], ["fan-1", "pump-2"])
    Path(september.path(EXTRACTION_COVERAGE, DAYS[20])).unlink()
    record_complete_day(september, DAYS[20], NAMES, datetime(2026, 9, 21, 12, tzinfo=UTC))

    done = ledger("status")

    assert done.code == 1
    assert "ledger backfill --from 2026-09-04 --to 2026-09-05\n" in done.out
    assert "missing: 2026-09-11, pump-1\n  ledger backfill --from 2026-09-11 --to 2026-09-11" in done.out
    assert "overdue: 2026-09-21, all schedulers" in done.out

    answer = ledger("status", "--json").json
    assert answer["never_extracted_days"] == ["2026-09-04", "2026-09-05"]
    assert answer["state_counts"] == {"settled": 80, "overdue": 3, "missing": 1, "never_extracted": 6}
    assert [item["state"] for item in answer["action_items"]] == ["missing", "never_extracted", "overdue"]
    assert answer["needs_action"] is True
    assert {len(scheduler["days"]) for scheduler in answer["schedulers"]} == {30}


@pytest.mark.usefixtures("september")
def test_runs_that_cannot_be_read_are_named(ledger: RunLedger, tmp_path: Path) -> None:
    (tmp_path / "home" / "dagster.yaml").write_text("storages: {nonsense: true}\n")

    done = ledger("status")

    assert "! Failed runs are not known. Cannot open the Dagster instance" in done.out
    assert "No action needed for the days in the lake." in done.out
    assert str(tmp_path / "home") in ledger("status", "--json").json["runs_error"]


def test_a_source_that_failed_once_is_no_reason_to_say_that_nothing_is_needed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = UnansweredSource("s3://plant-a/dumps/", datetime(2026, 10, 8, tzinfo=UTC), 1, "no object exists")

    status.print_action_items(Console(), lake_status.LakeStatus(DAYS, [], [], [], [failed]))

    assert capsys.readouterr().out == "No other action needed.\n"


@pytest.mark.usefixtures("september")
def test_a_range_and_a_scheduler_limit_the_output(ledger: RunLedger) -> None:
    answer = ledger(
        "status", "--from", "2026-09-03", "--to", "2026-09-05", "--scheduler", "pump-*", "--json"
    ).json

    assert [scheduler["scheduler_name"] for scheduler in answer["schedulers"]] == ["pump-1", "pump-2"]
    assert list(answer["schedulers"][0]["days"]) == ["2026-09-03", "2026-09-04", "2026-09-05"]


@pytest.mark.slow
def test_a_day_whose_last_run_failed_is_failed(ledger: RunLedger, september: Lake) -> None:
    broken = Path(september.path(INFERENCE_EXECUTIONS, DAYS[7]))
    whole = broken.read_bytes()
    broken.write_bytes(b"no parquet")
    dumps = broken.parents[3] / "dumps"
    dumps.mkdir()
    span = {
        "dagster/asset_partition_range_start": DAYS[6].isoformat(),
        "dagster/asset_partition_range_end": DAYS[8].isoformat(),
    }
    job = build_defs({"sources": lambda: [ArchiveSource(str(dumps))]}).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        job.execute_in_process(instance=instance, tags=span, raise_on_error=False)

        done = ledger("status")
        assert done.code == 1
        assert f"failed: {DAYS[7]}, all schedulers" in done.out

        broken.write_bytes(whole)
        job.execute_in_process(instance=instance, tags=span, raise_on_error=False)
    assert ledger("status").code == 0


def test_failing_sources_are_listed_with_their_start_and_reason(
    ledger: RunLedger, settings: Callable[..., Path], service: Handle
) -> None:
    settings(build_api_toml(service.url))
    job = build_defs().resolve_implicit_global_asset_job_def()
    day = {"dagster/partition": "2026-10-06"}

    def run(instance: dg.DagsterInstance, *schedulers: str) -> bool:
        config = {"ops": {INFERENCE_EXECUTIONS.name: {"config": {"schedulers": list(schedulers)}}}}
        selection = [dg.AssetKey(INFERENCE_EXECUTIONS.name)]
        return job.execute_in_process(
            config, instance=instance, tags=day, raise_on_error=False, asset_selection=selection
        ).success

    with dg.DagsterInstance.get() as instance:
        service.inject("deny:ListInferenceExecutions:scheduler=pump-2")
        assert not run(instance)
        (once,) = ledger("status", "--json").json["failed_sources"]
        assert once["consecutive_runs"] == 1
        assert not run(instance)
        assert run(instance, "pump-1"), "a run without pump-2"

        (source,) = ledger("status", "--json").json["failed_sources"]
        assert source["name"].endswith("pump-2")
        assert source["consecutive_runs"] == 2 and source["since"] == once["since"]
        done = ledger("status")
        assert done.code == 1
        assert f"{source['name']}, in 2 runs since {source['since'][:10]}" in done.text
        assert "ListInferenceExecutions to this caller" in done.text

        service.clear_faults()
        assert run(instance)
        assert ledger("status", "--json").json["failed_sources"] == []


def test_an_empty_lake_suggests_a_backfill(ledger: RunLedger, settings: Callable[..., Path]) -> None:
    settings(SOURCE, start="2026-09-01", end="2026-10-01")

    done = ledger("status")

    assert done.code == 1
    assert "Nothing is recorded yet." in done.out
    assert "ledger backfill --from 2026-09-01 --to 2026-09-30" in done.out


def test_without_sources_the_error_names_the_settings(
    ledger: RunLedger, settings: Callable[..., Path]
) -> None:
    settings()

    done = ledger("status")

    assert done.code == 2
    assert "[[sources]]" in done.err


@pytest.mark.slow
def test_a_year_of_a_large_fleet_is_shown(
    ledger: RunLedger, settings: Callable[..., Path], lake: Lake
) -> None:
    settings(SOURCE, start="2025-10-01", end="2026-10-01")
    names = [f"pump-{n}" for n in range(15)]
    days = [date(2025, 10, 1) + timedelta(days=n) for n in range(365)]
    for day in days:
        record_complete_day(lake, day, names)

    done = ledger("status", "--from", "2025-10-01")
    answer = ledger("status", "--json").json

    assert done.code == 0
    assert done.out.count("2026-09") >= 1 and done.out.count("2025-10") >= 1
    assert answer["state_counts"] == {DayState.settled: 365 * 15}
    assert "--from 2025-10-01 also shows the days before 2026-08-01" in ledger("status").text


def test_a_service_whose_settings_cannot_be_used_has_no_known_end() -> None:
    settings = Settings(sources=(ApiSettings(profile="no-such-profile"),))
    assert lake_status._list_service_ends(settings) == [None]
