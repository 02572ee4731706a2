"""`ledger report` and the asset `anomaly_report`, which build the same page."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.framework.metadata import read_metadata
from assets.report.assets import LATEST, NAME
from pipelines.definitions import build_defs
from resources.config.settings import HistorySettings, LakeSettings, ReportSettings, Settings
from resources.lake.lake import Lake
from tests.support.command_line import CommandResult, RunLedger
from tests.support.machine_lake import Machine, write_machines

WEEK = "report-2026-10-01--2026-10-07"
PUMP, FAN = Machine("pump-1", events=[(150, 153)]), Machine("fan-1", step_minutes=60)


@pytest.fixture
def run(tmp_path: Path, settings: Callable[..., Path], ledger: RunLedger) -> Callable[..., CommandResult]:
    write_machines(Lake(str(tmp_path / "lake")), PUMP, FAN)
    settings(more='[report]\nfolder = "pages"\n')
    return lambda *words: ledger("report", *words)


def test_without_dates_the_report_covers_the_newest_week(
    run: Callable[..., CommandResult], tmp_path: Path
) -> None:
    done = run()

    assert done.code == 0, done.err
    page = Path(done.out.strip())
    assert page == tmp_path / "pages" / f"{WEEK}.html"
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "pump-1" in page.read_text() and "fan-1" in page.read_text()


def test_markdown_of_one_machine_on_one_day_is_printed(run: Callable[..., CommandResult]) -> None:
    done = run("--date", "2026-10-07", "--equipment", "pump-*", "--format", "markdown", "--out", "-")

    assert done.code == 0, done.err
    assert done.out.startswith("# Wed 7 October 2026\n")
    assert "**pump-1**: anomalous for 3" in done.out
    assert "fan-1" not in done.out


def test_a_week_is_written_to_the_given_file(run: Callable[..., CommandResult], tmp_path: Path) -> None:
    done = run("--week", "2026-W40", "--out", str(tmp_path / "deep" / "w40.html"))

    assert done.code == 0, done.err
    assert "Mon 28 September – Sun 4 October 2026" in (tmp_path / "deep" / "w40.html").read_text()


def test_a_report_of_an_empty_lake_covers_the_end_of_the_history(
    settings: Callable[..., Path], ledger: RunLedger
) -> None:
    settings()

    done = ledger("report", "--format", "markdown", "--out", "-")

    assert done.out.startswith("# Fri 2 – Thu 8 October 2026\n")
    assert "The lake has no data for these days" in done.out and "No findings" not in done.out


def test_an_invalid_selection_is_an_error_without_a_traceback(run: Callable[..., CommandResult]) -> None:
    for words, parts in (
        (["--equipment", "pumb-1"], ["pumb-1", 'did you mean "pump-1"']),
        (["--week", "2026-W60"], ["is not a week", "2026-W41"]),
        (["--week", "9999-12-31"], ["is not a week", "2026-W41"]),
        (["--date", "0001-01-01"], ["--date", "between 2000 and 2099"]),
        (["--date", "2026-10-07", "--week", "2026-W41"], ["more than one range"]),
        (["--from", "2026-10-07", "--to", "2026-10-01"], ["before its start"]),
        (["--from", "2025-01-01", "--to", "2026-10-01"], ["the limit is 92"]),
        (["--date", "soon"], ["--date", "YYYY-MM-DD"]),
    ):
        done = run(*words)
        assert done.code == 2, words
        assert "Traceback" not in done.err
        assert [part for part in parts if part not in done.err] == []


def test_the_asset_writes_a_page_for_each_day_and_its_numbers_as_metadata(tmp_path: Path) -> None:
    write_machines(Lake(str(tmp_path / "lake")), PUMP, FAN)
    settings = Settings(
        lake=LakeSettings(uri=str(tmp_path / "lake")),
        history=HistorySettings(start_date=date(2026, 10, 1), end_date=date(2026, 10, 8)),
        report=ReportSettings(folder=str(tmp_path / "pages")),
    )
    definitions = build_defs({"clock": lambda: datetime(2026, 10, 8, 6, tzinfo=UTC)}, settings=settings)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        span = {
            "dagster/asset_partition_range_start": "2026-10-06",
            "dagster/asset_partition_range_end": "2026-10-07",
        }
        done = job.execute_in_process(instance=instance, tags=span, asset_selection=[dg.AssetKey(NAME)])
        entries = instance.all_logs(done.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    made = {
        entry.dagster_event.partition: entry.dagster_event.step_materialization_data.materialization
        for entry in entries
        if entry.dagster_event
    }

    assert made.keys() == {"2026-10-06", "2026-10-07"}
    numbers = read_metadata(made["2026-10-07"].metadata)
    assert numbers["machines"] == 2
    assert numbers["machines_that_need_attention"] == 1
    assert numbers["events"] == 1
    assert numbers["share_of_executions_with_result"] == 1.0
    assert str(numbers["score_charts"]).startswith("![Score charts](data:image/svg+xml;base64,")
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == [
        LATEST,
        "report-2026-09-30--2026-10-06.html",
        f"{WEEK}.html",
    ]
    assert (tmp_path / "pages" / LATEST).read_text() == (tmp_path / "pages" / f"{WEEK}.html").read_text()
