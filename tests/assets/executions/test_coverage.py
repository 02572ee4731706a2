"""Coverage: only responses of the service prove a day, and the proof is never withdrawn."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.coverage import (
    advance_coverage,
    compute_settle_time,
    count_by_scheduler,
    is_settled,
    merge_coverage,
)
from assets.tables import EXTRACTION_COVERAGE, INFERENCE_EXECUTIONS

DAY = date(2026, 10, 6)
SETTLES_AT = datetime(2026, 10, 7, 3, tzinfo=UTC)
NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
NOTHING = EXTRACTION_COVERAGE.schema.empty_table()

ARNS = ["arn:a", "arn:b", "arn:c"]
moments = st.integers(-48, 48).map(lambda hours: SETTLES_AT + timedelta(hours=hours))
answered = st.dictionaries(st.sampled_from(ARNS), moments)
statuses = st.sampled_from([None, "IN_PROGRESS", "SUCCESS", "FAILED", "SKIPPED"])
kinds = st.sampled_from(["api", "archive", "bucket"])
executed = st.lists(
    st.fixed_dictionaries(
        {"scheduler_arn": st.sampled_from(ARNS), "status": statuses, "source": kinds, "outcome_source": kinds}
    ),
    max_size=12,
)


def executions(rows: list[dict[str, Any]]) -> pa.Table:
    def whole(number: int, row: dict[str, Any]) -> dict[str, Any]:
        start = datetime(2026, 10, 6, tzinfo=UTC) + timedelta(minutes=5 * number)
        name = row["scheduler_arn"].removeprefix("arn:")
        return {"scheduler_name": name, "data_start_time": start, "recorded_at": NOW} | row

    return pa.Table.from_pylist(
        [whole(number, row) for number, row in enumerate(rows)], schema=INFERENCE_EXECUTIONS.schema
    )


def covered(
    rows: list[dict[str, Any]],
    existing: pa.Table = NOTHING,
    answers: dict[str, datetime] | None = None,
    **times: datetime,
) -> pa.Table:
    counts = count_by_scheduler(executions(rows))
    return merge_coverage(
        counts, existing, **({"settles_at": SETTLES_AT, "now": NOW} | times), query_times=answers
    )


def by_arn(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["scheduler_arn"]: row for row in table.to_pylist()}


def through(table: pa.Table) -> dict[str, datetime | None]:
    return {arn: row["complete_through"] for arn, row in by_arn(table).items()}


class TestSettleTime:
    def test_day_settles_some_time_after_its_end(self) -> None:
        assert compute_settle_time(DAY, timedelta(hours=3)) == SETTLES_AT
        assert compute_settle_time(DAY, timedelta(0)) == datetime(2026, 10, 7, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("complete_through", "settled"),
        [
            pytest.param(None, False, id="never proven"),
            pytest.param(SETTLES_AT - timedelta(milliseconds=1), False, id="one millisecond too early"),
            pytest.param(SETTLES_AT, True, id="exactly"),
            pytest.param(SETTLES_AT + timedelta(hours=1), True, id="later"),
        ],
    )
    def test_day_is_settled_if_proven_through_its_settle_time(
        self, complete_through: datetime | None, settled: bool
    ) -> None:
        assert is_settled(complete_through, SETTLES_AT) is settled

    @given(st.none() | moments, st.none() | moments)
    def test_complete_through_only_advances_and_at_most_to_the_settle_time(
        self, before: datetime | None, answer: datetime | None
    ) -> None:
        after = advance_coverage(before, answer, SETTLES_AT)
        if before is not None:
            assert after is not None
            assert after >= before
        if after != before:
            assert answer is not None
            assert after == min(answer, SETTLES_AT)
        if answer is not None:
            assert after is not None
            assert after >= min(answer, SETTLES_AT)

    @given(st.lists(moments), st.randoms(use_true_random=False))
    def test_order_and_repetition_of_responses_do_not_matter(
        self,
        answers: list[datetime],
        random: Any,
    ) -> None:
        def after(given_answers: list[datetime]) -> datetime | None:
            reached = None
            for answer in given_answers:
                reached = advance_coverage(reached, answer, SETTLES_AT)
            return reached

        assert after(random.sample([*answers, *answers], 2 * len(answers))) == after(answers)


class TestCompleteThrough:
    @given(st.lists(st.tuples(executed, answered), min_size=1, max_size=4))
    @settings(deadline=None, max_examples=20)
    def test_only_advances_and_at_most_to_the_settle_time(
        self, runs: list[tuple[list[dict[str, Any]], dict[str, datetime]]]
    ) -> None:
        table = NOTHING
        for rows, answers in runs:
            before, table = through(table), covered(rows, table, answers)
            for arn, reached in through(table).items():
                assert reached is None or reached <= SETTLES_AT
                earlier = before.get(arn)
                assert earlier is None or (reached is not None and reached >= earlier)

    @given(executed, answered)
    @settings(deadline=None, max_examples=20)
    def test_does_not_advance_by_saved_responses(
        self, rows: list[dict[str, Any]], answers: dict[str, datetime]
    ) -> None:
        proven = covered([], answers=answers)
        after = through(covered(rows, proven))
        assert {arn: after[arn] for arn in answers} == through(proven)
        assert all(after[arn] is None for arn in after if arn not in answers)

    def test_stays_if_settle_after_is_shortened(self) -> None:
        proven = covered([], answers={"arn:a": NOW})
        later = covered([], proven, {"arn:a": NOW}, settles_at=SETTLES_AT - timedelta(hours=2))
        assert through(later) == {"arn:a": SETTLES_AT}

    def test_advances_further_if_settle_after_is_extended(self) -> None:
        proven = covered([], answers={"arn:a": NOW})
        later = SETTLES_AT + timedelta(hours=1)
        assert through(covered([], proven, settles_at=later)) == {"arn:a": SETTLES_AT}
        assert through(covered([], proven, {"arn:a": NOW}, settles_at=later)) == {"arn:a": later}

    def test_is_the_query_time_if_the_day_is_not_settled(self) -> None:
        early = datetime(2026, 10, 6, 15, tzinfo=UTC)
        assert through(covered([], answers={"arn:a": early})) == {"arn:a": early}


class TestCounts:
    @given(executed, executed, answered)
    @settings(deadline=None, max_examples=25)
    def test_equal_a_plain_recount(
        self, earlier: list[dict[str, Any]], rows: list[dict[str, Any]], answers: dict[str, datetime]
    ) -> None:
        table = by_arn(covered(rows, covered(earlier), answers))
        shown = [row for row in earlier if {row["source"], row["outcome_source"]} != {"bucket"}]
        assert set(table) == {row["scheduler_arn"] for row in [*shown, *rows]} | set(answers), (
            "a scheduler that only a bucket showed can turn out to be another one"
        )
        for arn in {row["scheduler_arn"] for row in rows}:
            own = [row for row in rows if row["scheduler_arn"] == arn]
            actual = table[arn]
            assert actual["scheduler_name"] == arn.removeprefix("arn:")
            assert actual["executions"] == len(own)
            assert actual["in_progress"] == sum(row["status"] == "IN_PROGRESS" for row in own)
            assert actual["failed"] == sum(row["status"] == "FAILED" for row in own)
            kinds = {row["source"] for row in own} | {row["outcome_source"] for row in own}
            assert actual["sources"] == ",".join(sorted(kinds))

    def test_queried_scheduler_without_executions_has_a_row_of_zeros(self) -> None:
        assert by_arn(covered([], answers={"arn:quiet": NOW})) == {
            "arn:quiet": {
                "scheduler_arn": "arn:quiet",
                "scheduler_name": None,
                "complete_through": SETTLES_AT,
                "executions": 0,
                "in_progress": 0,
                "failed": 0,
                "sources": None,
                "recorded_at": NOW,
            }
        }

    def test_no_input_gives_an_empty_table(self) -> None:
        assert covered([]).equals(NOTHING)


class TestRows:
    @pytest.mark.parametrize("kinds", [("archive", "api"), ("bucket", "bucket")])
    def test_proven_scheduler_stays_with_its_counts(self, kinds: tuple[str, str]) -> None:
        source, outcome_source = kinds
        row = {
            "scheduler_arn": "arn:a",
            "status": "FAILED",
            "source": source,
            "outcome_source": outcome_source,
        }
        before = covered([row], answers={"arn:a": NOW})
        assert covered([], before, now=NOW + timedelta(days=1)).equals(before)

    @given(executed, answered)
    @settings(deadline=None, max_examples=20)
    def test_second_merge_changes_nothing(
        self, rows: list[dict[str, Any]], answers: dict[str, datetime]
    ) -> None:
        once = covered(rows, answers=answers)
        assert covered(rows, once, answers, now=NOW + timedelta(days=1)).equals(once)

    def test_recorded_at_changes_only_for_changed_rows(self) -> None:
        row = {"status": "IN_PROGRESS", "source": "archive", "outcome_source": "archive"}
        first = [{"scheduler_arn": arn} | row for arn in ("arn:a", "arn:b")]
        second = [first[0], first[1] | {"status": "SUCCESS"}]
        later = NOW + timedelta(hours=1)
        table = by_arn(covered(second, covered(first), now=later))
        assert {arn: row["recorded_at"] for arn, row in table.items()} == {"arn:a": NOW, "arn:b": later}

    def test_have_the_declared_schema_and_order(self) -> None:
        table = covered([], answers=dict.fromkeys(reversed(ARNS), NOW))
        assert table.schema.equals(EXTRACTION_COVERAGE.schema)
        assert table["scheduler_arn"].to_pylist() == ARNS
