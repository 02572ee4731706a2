"""Notifications about failures, with real runs on a Dagster instance and a real HTTP server."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.checks.result import Check, CheckOutcome, build_check_result
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS
from pipelines.automation.failure_alerts import RUNS_A_TICK, _build_check_notice
from pipelines.definitions import build_defs
from resources.config.sections import AlertSettings, HistorySettings, LakeSettings
from resources.config.settings import ArchiveSettings, Settings
from resources.lake.lake import Lake
from sandbox.dumps import Manifest
from tests.support.code_location import DAYS, NOW, Location
from tests.support.receiver import Receiver, run_receiver

DAGSTER = "https://dagster.example.com"
Dumps = tuple[Path, Manifest]


@dataclass
class Watched(Location):
    """A location whose alerts are posted to the receiver. Tests set `now`."""

    now: datetime

    def tick(self, sensor: str, cursor: str | None = None) -> str:
        """Evaluate a sensor as the daemon does and return its new cursor."""
        repository = self.definitions.get_repository_def()
        context = dg.build_sensor_context(
            self.instance,
            cursor=cursor,
            repository_def=repository,
            resources={"lake": self.lake, "clock": lambda: self.now},
        )
        repository.get_sensor_def(sensor).evaluate_tick(context)
        return context.cursor or ""


@pytest.fixture
def watch(tmp_path: Path, instance: dg.DagsterInstance, receiver: Receiver) -> Callable[..., Watched]:
    def make(folder: Path, **alerts: object) -> Watched:
        settings = Settings(
            lake=LakeSettings(uri=str(tmp_path / "lake")),
            history=HistorySettings(start_date=DAYS[0], end_date=date(2026, 10, 9)),
            sources=(ArchiveSettings(uri=str(folder)),),
            alerts=AlertSettings(
                webhook_url=receiver.url,
                allow_private_addresses=True,
                dagster_url="https://dagster.example.com",
                **alerts,
            ),
        )
        watched = Watched(None, instance, Lake(settings.lake.uri), NOW)  # type: ignore[arg-type]
        watched.definitions = build_defs({"clock": lambda: watched.now}, settings=settings)
        return watched

    return make


def test_repeated_failure_and_its_recovery_are_notified_once(
    watch: Callable[..., Watched], dumps: Dumps, receiver: Receiver
) -> None:
    watched = watch(dumps[0])
    blocked = Path(watched.lake.path(INFERENCE_EXECUTIONS, date(2026, 10, 6))).parent
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the day's folder should be")

    assert not watched.run().success
    cursor = watched.tick("notify_failed_runs")
    assert not watched.run().success
    cursor = watched.tick("notify_failed_runs", cursor)
    assert receiver.kinds() == ["run_failed"]
    posted = receiver.bodies[0]
    assert posted["facts"]["partitions"] == ["2026-10-06"]
    assert posted["severity"] == "critical"
    assert posted["link"] == f"https://dagster.example.com/runs/{posted['facts']['run_id']}"
    assert "next:" in posted["text"]

    blocked.unlink()
    assert watched.run(date(2026, 10, 7), date(2026, 10, 8)).success
    cursor = watched.tick("notify_failed_runs", cursor)
    assert receiver.kinds() == ["run_failed"], "a run over other days is no recovery"

    assert watched.run().success
    cursor = watched.tick("notify_failed_runs", cursor)
    cursor = watched.tick("notify_failed_runs", cursor)
    assert receiver.kinds() == ["run_failed", "run_recovered"]
    assert receiver.bodies[1]["cause"] == posted["cause"]
    assert receiver.bodies[1]["facts"]["times"] == 2


def test_a_long_run_that_fails_after_many_later_runs_is_notified(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    watched = watch(tmp_path / "nowhere")
    long = watched.instance.add_run(dg.DagsterRun("long", status=dg.DagsterRunStatus.STARTED))
    for _ in range(RUNS_A_TICK + 1):
        watched.instance.add_run(dg.DagsterRun("short", status=dg.DagsterRunStatus.FAILURE))
    cursor = watched.tick("notify_failed_runs")

    watched.instance.report_run_failed(long)
    watched.tick("notify_failed_runs", cursor)

    assert [body["facts"]["job"] for body in receiver.bodies] == ["short", "long"]


def test_the_recovery_of_a_deleted_run_is_not_known(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    watched = watch(tmp_path / "nowhere")
    failed = watched.run()
    cursor = watched.tick("notify_failed_runs")
    watched.instance.delete_run(failed.run_id)

    cursor = watched.tick("notify_failed_runs", cursor)
    watched.tick("notify_failed_runs", cursor)

    failure, end = receiver.bodies
    assert (failure["kind"], end["kind"]) == ("run_failed", "run_recovered")
    assert end["title"].endswith("it is not known whether it succeeds again")
    assert "its failed run was deleted" in end["text"] and "Resolved" not in end["text"]


def test_an_alert_waits_for_a_target_that_is_down_and_is_not_repeated_to_the_others(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    with run_receiver() as other:
        address = other.url.removeprefix("http")
    watched = watch(tmp_path / "nowhere", urls=(f"json{address}",))
    watched.run()

    cursor = watched.tick("notify_failed_runs")
    cursor = watched.tick("notify_failed_runs", cursor)

    assert receiver.kinds() == ["run_failed"]
    ((waiting,),) = json.loads(cursor)["pending"].values()
    assert waiting["notice"]["cause"] == receiver.bodies[0]["cause"]


def test_continuing_failure_is_notified_again_after_repeat_after(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    watched = watch(tmp_path / "nowhere", repeat_after_hours=2)

    cursor = ""
    for hours in (0, 1, 2):
        watched.now = NOW + timedelta(hours=hours)
        assert not watched.run().success
        cursor = watched.tick("notify_failed_runs", cursor)

    assert receiver.kinds() == ["run_failed", "run_failed"]
    assert "(still failing)" in receiver.bodies[1]["title"]
    assert receiver.bodies[0]["cause"] == receiver.bodies[1]["cause"]


def build_silence(target: str) -> str:
    return f"""\
[[silences]]
{target}
until = {NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}
who = "operator"
why = "the folder is moved"
"""


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        ('run = "inference_executions"', []),
        ('run = "__ASSET_JOB*"', []),
        ('run = "anomaly_*"', ["run_failed"]),
        ('check = "*"', ["run_failed"]),
    ],
)
def test_silenced_run_is_not_notified(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver, target: str, kinds: list[str]
) -> None:
    silences = tmp_path / "silences.toml"
    silences.write_text(build_silence(target))
    watched = watch(tmp_path / "nowhere", silences=str(silences))
    assert not watched.run().success

    cursor = watched.tick("notify_failed_runs")
    assert receiver.kinds() == kinds

    watched.now = NOW + timedelta(hours=2)
    assert not watched.run().success
    watched.tick("notify_failed_runs", cursor)
    assert receiver.kinds() == ["run_failed"], "after the silence a new failure is notified"


def test_silenced_check_is_notified_after_the_silence(
    watch: Callable[..., Watched], tmp_path: Path, dumps: Dumps, receiver: Receiver
) -> None:
    silences = tmp_path / "silences.toml"
    silences.write_text(build_silence('check = "*"'))
    watched = watch(dumps[0], silences=str(silences))
    watched.run(checks=True)

    cursor = watched.tick("notify_failing_checks")
    assert receiver.kinds() == []

    watched.now = NOW + timedelta(hours=2)
    watched.tick("notify_failing_checks", cursor)
    assert "check_failed" in receiver.kinds()


def test_invalid_silences_silence_nothing(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    silences = tmp_path / "silences.toml"
    silences.write_text(build_silence('run = "*"').replace("who", "whoo"))
    watched = watch(tmp_path / "nowhere", silences=str(silences))
    assert not watched.run().success

    watched.tick("notify_failed_runs")

    assert receiver.kinds() == ["run_failed"]


def test_undelivered_failure_is_sent_by_a_later_tick(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    watched = watch(tmp_path / "nowhere")
    receiver.statuses = [503, 503, 503]
    assert not watched.run().success

    cursor = watched.tick("notify_failed_runs")
    assert len(receiver.bodies) == 3
    cursor = watched.tick("notify_failed_runs", cursor)
    watched.tick("notify_failed_runs", cursor)

    assert len(receiver.bodies) == 4


def test_unreadable_cursor_repeats_a_notice_and_loses_none(
    watch: Callable[..., Watched], tmp_path: Path, receiver: Receiver
) -> None:
    watched = watch(tmp_path / "nowhere")
    assert not watched.run().success
    watched.tick("notify_failed_runs")

    watched.tick("notify_failed_runs", "{broken")

    assert receiver.kinds() == ["run_failed", "run_failed"]


def test_failing_check_and_its_recovery_are_notified_once(
    watch: Callable[..., Watched], dumps: Dumps, tmp_path: Path, receiver: Receiver
) -> None:
    watched = watch(dumps[0])
    assert watched.run(checks=True).success

    cursor = watched.tick("notify_failing_checks")
    cursor = watched.tick("notify_failing_checks", cursor)

    failing = {body["facts"]["check"]: body for body in receiver.bodies}
    assert set(failing) == {"archive_files_complete", "no_rejected_summaries", "no_unrecognized_fields"}
    assert len(receiver.bodies) == 3
    assert failing["no_rejected_summaries"]["severity"] == "warning"
    assert "ledger sql" in failing["no_rejected_summaries"]["text"]

    whole = tmp_path / "whole"
    whole.mkdir()
    again = watch(whole)
    again.instance = watched.instance
    assert again.run(checks=True).success
    again.tick("notify_failing_checks", cursor)
    recovered = [body for body in receiver.bodies if body["kind"] == "check_recovered"]
    assert [body["facts"]["check"] for body in recovered] == ["archive_files_complete"]


def test_the_message_of_a_check_is_text_in_the_dagster_ui_and_in_an_alert() -> None:
    check = Check("archive_files_complete", "", lambda _: outcome)
    outcome = CheckOutcome(passed=False, message="<b>x & y.json: is empty.")

    result = build_check_result(check, outcome, dg.AssetKey("inference_executions"))
    evaluation = dg.AssetCheckEvaluation(
        result.asset_key, check.name, result.passed, {}, description=result.description
    )
    notice = _build_check_notice(evaluation, "new", "cause", AlertSettings(), None)

    assert result.description == "&lt;b&gt;x &amp; y.json: is empty.", "the UI shows Markdown"
    assert notice.facts["description"] == outcome.message


def test_broken_day_blocks_downstream_assets_and_is_critical(
    watch: Callable[..., Watched], dumps: Dumps, receiver: Receiver
) -> None:
    watched = watch(dumps[0])
    assert watched.run().success
    broken = Path(watched.lake.path(EXTRACTION_COVERAGE, date(2026, 10, 6)))
    rows = watched.lake.read(EXTRACTION_COVERAGE, date(2026, 10, 6))
    pq.write_table(rows.drop_columns(["executions"]), broken)
    job = watched.definitions.resolve_job_def("hourly_checks")

    result = job.execute_in_process(instance=watched.instance, raise_on_error=False)

    assert not result.success
    watched.tick("notify_failing_checks")
    notices = {body["facts"]["check"]: body for body in receiver.bodies}
    assert notices["schema_matches_declaration"]["severity"] == "critical"
    assert notices["schema_matches_declaration"]["facts"]["blocking"]
    assert "extraction_coverage of 2026-10-06" in str(notices["schema_matches_declaration"])


def test_all_checks_run_on_the_hourly_schedule(watch: Callable[..., Watched], dumps: Dumps) -> None:
    watched = watch(dumps[0])
    assert watched.run().success
    schedule = watched.definitions.get_repository_def().get_schedule_def("hourly_checks")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING

    result = watched.definitions.resolve_job_def("hourly_checks").execute_in_process(
        instance=watched.instance
    )

    assert result.success
    evaluations = (event for event in result.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION")
    names = {event.asset_check_evaluation_data.check_name for event in evaluations}
    assert {"data_fresh", "sources_answered", "keys_unique", "partitions_succeeded"} <= names
    assert not any(event.is_step_materialization for event in result.all_events)


def test_alert_sensors_run_by_default(watch: Callable[..., Watched], dumps: Dumps) -> None:
    repository = watch(dumps[0]).definitions.get_repository_def()

    statuses = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}

    for name in ("notify_failed_runs", "notify_failing_checks", "notify_anomaly_events"):
        assert statuses[name] == dg.DefaultSensorStatus.RUNNING


def test_each_check_is_documented(watch: Callable[..., Watched], dumps: Dumps) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "alerts.md").read_text()

    keys = watch(dumps[0]).definitions.get_repository_def().asset_graph.asset_check_keys

    assert sorted({key.name for key in keys if f"| `{key.name}`" not in page}) == []
