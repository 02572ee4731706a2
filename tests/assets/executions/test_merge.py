"""Merge of executions: independent of order, grouping and repetition of sources, and without loss of rows.

`reference` implements the rule in plain Python, row by row. The other tests check the laws.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, permutations
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions import merge
from assets.executions.flatten import ROWS
from assets.executions.merge import SchedulerRanges, merge_executions, merge_ranges, reduce_candidates
from assets.executions.statuses import FINAL_STATUSES, rank_statuses
from assets.tables import INFERENCE_EXECUTIONS
from resources.encoded_texts import decode_texts

Row = dict[str, Any]

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
START = datetime(2026, 10, 6, tzinfo=UTC)
NOTHING = INFERENCE_EXECUTIONS.encoded_schema.empty_table()

KEY = ("scheduler_arn", "data_start_time")
TIMES = ("scheduled_start_time", "data_end_time", "source")
OUTCOME = ("status", "failed_reason", "result_s3_bucket", "result_s3_key", "outcome_source")
IDENTITY = tuple(
    name for name in ROWS.names if name not in (*KEY, *TIMES, *OUTCOME) and name != "recorded_at"
)
GROUPS = (IDENTITY, TIMES, OUTCOME)

moments = st.none() | st.integers(0, 2).map(lambda minutes: START + timedelta(minutes=minutes))
texts = st.sampled_from([None, "", "a", "b"])
kinds = st.sampled_from(["api", "archive", "bucket"])
candidate = st.fixed_dictionaries(
    {
        "scheduler_arn": st.sampled_from(["arn:1", "arn:2"]),
        "data_start_time": st.sampled_from([START, START + timedelta(minutes=5)]),
        "model_name": texts,
        "model_version": st.none() | st.integers(1, 3),
        "input_s3_bucket": texts,
        "unrecognized": st.sampled_from([None, '{"New":1}']),
        "scheduled_start_time": moments,
        "data_end_time": moments,
        "source": kinds,
        "status": st.sampled_from([None, "IN_PROGRESS", "SUCCESS", "FAILED", "SKIPPED"]),
        "failed_reason": texts,
        "result_s3_key": texts,
        "outcome_source": kinds,
    }
)
# candidates from one source, and recorded rows whose groups come from two sources
candidates = st.lists(
    candidate | candidate.map(lambda row: row | {"outcome_source": row["source"]}), max_size=10
)


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=ROWS)


def row(**values: Any) -> Row:
    base = {"scheduler_arn": "arn:1", "data_start_time": START, "source": "archive", "status": "SUCCESS"}
    return base | {"outcome_source": values.get("source", "archive")} | values


def merged(*batches: list[Row]) -> pa.Table:
    """Merge the batches in sequence, one hour apart."""
    lake = NOTHING
    for number, batch in enumerate(batches):
        lake = merge_executions(lake, table(batch), NOW + timedelta(hours=number))
    return lake


def content(rows: pa.Table) -> list[Row]:
    result: list[Row] = rows.drop_columns("recorded_at").to_pylist()
    return result


def get_single_row(rows: pa.Table) -> Row:
    (single,) = rows.to_pylist()
    assert isinstance(single, dict)
    return single


def key(execution: Row) -> tuple[Any, ...]:
    return tuple(execution[name] for name in KEY)


def reference(rows: list[Row]) -> list[Row]:
    """Take each group from the candidate with the highest rank."""
    whole = [dict.fromkeys(ROWS.names) | execution for execution in rows]
    result_rows = []
    for current_key in sorted({key(execution) for execution in whole}):
        rivals = [execution for execution in whole if key(execution) == current_key]
        result = dict(zip(KEY, current_key, strict=True))
        for group in GROUPS:
            winner = max(rivals, key=lambda execution: rank(execution, group))
            result |= {name: winner[name] for name in group}
        result_rows.append({name: result[name] for name in ROWS.names if name != "recorded_at"})
    return result_rows


def rank(execution: Row, group: tuple[str, ...]) -> tuple[Any, ...]:
    finals = {None: 0, "IN_PROGRESS": 1, "SUCCESS": 3, "FAILED": 3}
    return (
        finals.get(execution["status"], 2) if group is OUTCOME else 0,
        ["bucket", "archive", "api"].index(execution["outcome_source" if group is OUTCOME else "source"]),
        sum(execution[name] is not None for name in group),
        # by value, null last; any total order would do
        *((execution[name] is None, execution[name] if execution[name] is not None else 0) for name in group),
    )


def create_value(kind: pa.DataType) -> Any:
    return START if pa.types.is_timestamp(kind) else 1 if pa.types.is_integer(kind) else "a"


class TestMergeLaws:
    @given(candidates)
    @settings(deadline=None, max_examples=40)
    def test_merge_equals_the_reference(self, rows: list[Row]) -> None:
        assert content(merged(rows)) == reference(rows)

    def test_candidates_that_differ_in_one_column_are_not_taken_as_repeats(self) -> None:
        whole = {name: create_value(ROWS.field(name).type) for name in ROWS.names} | row(recorded_at=None)
        for name in ROWS.names:
            if name in (*KEY, "recorded_at"):
                continue
            other = whole | {name: "api" if name in ("source", "outcome_source") else None}
            for rows in ([whole, other], [other, whole]):
                assert content(merged(rows)) == reference(rows), name

    @given(candidates, candidates)
    @settings(deadline=None, max_examples=12)
    def test_merge_is_commutative(self, rows: list[Row], other: list[Row]) -> None:
        assert content(merged(rows, other)) == content(merged(other, rows))

    @given(candidates, candidates, candidates)
    @settings(deadline=None, max_examples=12)
    def test_merge_is_associative(
        self, first_rows: list[Row], second_rows: list[Row], third_rows: list[Row]
    ) -> None:
        first, second, third = map(table, (first_rows, second_rows, third_rows))
        left = reduce_candidates(
            pa.concat_tables([reduce_candidates(pa.concat_tables([first, second])), third])
        )
        right = reduce_candidates(
            pa.concat_tables([first, reduce_candidates(pa.concat_tables([second, third]))])
        )
        assert decode_texts(left).equals(decode_texts(right))
        assert (
            content(left)
            == content(merged(first_rows + second_rows + third_rows))
            == content(merged(first_rows, second_rows, third_rows))
        )

    @given(candidates, candidates, st.integers(1, 4))
    @settings(deadline=None, max_examples=12)
    def test_a_day_that_is_merged_in_pieces_is_the_same(
        self, rows: list[Row], more: list[Row], size: int
    ) -> None:
        whole = merged(rows, more, rows)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(merge, "MOST_ROWS_AT_ONCE", size)
            patch.setattr(merge, "ROWS_OF_PIECE", size)
            assert merged(rows, more, rows).equals(whole)
            assert merge_executions(whole, table(more), NOW + timedelta(days=1)).equals(whole)
            backwards = whole.take(pa.array(reversed(range(whole.num_rows)), pa.int64()))
            assert merge_executions(backwards, table(more), NOW + timedelta(days=1)).equals(whole)

    @given(candidates)
    @settings(deadline=None, max_examples=12)
    def test_merge_is_idempotent(self, rows: list[Row]) -> None:
        once = merged(rows)
        assert merge_executions(once, table(rows), NOW + timedelta(days=1)).equals(once)
        assert merge_executions(once, once, NOW + timedelta(days=1)).equals(once)
        assert merge_executions(once, NOTHING, NOW + timedelta(days=1)).equals(once)

    @given(candidates, st.data())
    @settings(deadline=None, max_examples=12)
    def test_any_order_grouping_and_repetition_gives_the_same_table(
        self, rows: list[Row], data: st.DataObject
    ) -> None:
        again = data.draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []
        shuffled = data.draw(st.permutations([*rows, *again]))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=3)))
        batches = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
        assert content(merged(*batches)) == content(merged(rows))

    @given(candidates, candidates)
    @settings(deadline=None, max_examples=12)
    def test_every_key_of_either_side_occurs_exactly_once(self, before: list[Row], more: list[Row]) -> None:
        keys = [key(execution) for execution in content(merged(before, more))]
        assert keys == sorted({key(execution) for execution in [*before, *more]})

    @given(candidates, candidates)
    @settings(deadline=None, max_examples=12)
    def test_a_final_outcome_is_never_downgraded(self, before: list[Row], more: list[Row]) -> None:
        after = {key(execution): execution["status"] for execution in content(merged(before, more))}
        for execution in before:
            if execution["status"] in FINAL_STATUSES:
                assert after[key(execution)] in FINAL_STATUSES

    @given(candidates)
    @settings(deadline=None, max_examples=12)
    def test_each_group_comes_from_a_single_candidate(self, rows: list[Row]) -> None:
        whole = [dict.fromkeys(ROWS.names) | execution for execution in rows]
        for result in content(merged(rows)):
            for group in GROUPS:
                assert any(
                    key(execution) == key(result) and all(execution[name] == result[name] for name in group)
                    for execution in whole
                )

    @given(candidates)
    @settings(deadline=None, max_examples=12)
    def test_identity_and_times_come_from_the_named_source(self, rows: list[Row]) -> None:
        whole = [dict.fromkeys(ROWS.names) | execution for execution in rows]
        for result in content(merged(rows)):
            for group in (IDENTITY, TIMES):
                assert any(
                    all(execution[name] == result[name] for name in (*KEY, *group, "source"))
                    for execution in whole
                )

    @given(st.lists(candidates, min_size=1, max_size=4))
    @settings(deadline=None, max_examples=12)
    def test_recorded_at_changes_only_with_the_content(self, batches: list[list[Row]]) -> None:
        lake = NOTHING
        for number, batch in enumerate(batches):
            now = NOW + timedelta(hours=number)
            before = {key(execution): execution for execution in lake.to_pylist()}
            lake = merge_executions(lake, table(batch), now)
            for execution in lake.to_pylist():
                same = before.get(key(execution), {}) | {"recorded_at": None} == execution | {
                    "recorded_at": None
                }
                assert execution["recorded_at"] == (before[key(execution)]["recorded_at"] if same else now)

    @given(candidates)
    @settings(deadline=None, max_examples=8)
    def test_result_has_the_declared_schema_and_order(self, rows: list[Row]) -> None:
        lake = merged(rows)
        assert lake.schema.equals(INFERENCE_EXECUTIONS.encoded_schema, check_metadata=True)
        plain = decode_texts(lake)
        assert plain.equals(plain.sort_by([(name, "ascending") for name in KEY]))


class TestOutcome:
    @pytest.mark.parametrize(
        ("lower", "higher"),
        [*combinations([None, "IN_PROGRESS", "SKIPPED", "SUCCESS"], 2)],
        ids=str,
    )
    def test_higher_status_wins_from_any_source(self, lower: str | None, higher: str) -> None:
        early, late = row(status=lower, source="api"), row(status=higher, source="bucket")
        for order in permutations([early, late]):
            result = get_single_row(merged(*([execution] for execution in order)))
            assert (result["status"], result["outcome_source"]) == (higher, "bucket")
            assert result["source"] == "api"

    @pytest.mark.parametrize("in_one_batch", [True, False], ids=["one batch", "two batches"])
    def test_better_source_wins_between_final_statuses(self, in_one_batch: bool) -> None:
        candidates = [row(status="FAILED", source="archive", failed_reason="no data"), row(source="api")]
        result = get_single_row(
            merged(candidates) if in_one_batch else merged(*([candidate] for candidate in candidates))
        )
        assert (result["status"], result["failed_reason"], result["outcome_source"]) == (
            "SUCCESS",
            None,
            "api",
        )

    def test_candidate_with_more_values_wins_between_equals(self) -> None:
        bare, full = row(), row(result_s3_bucket="b", result_s3_key="k")
        for order in permutations([bare, full]):
            assert get_single_row(merged(*([execution] for execution in order)))["result_s3_key"] == "k"

    def test_failed_reason_and_status_come_from_the_same_candidate(self) -> None:
        failed = row(status="FAILED", failed_reason="no data", source="archive")
        succeeded = row(status="SUCCESS", source="api", result_s3_bucket="b", result_s3_key="k")
        result = get_single_row(merged([failed], [succeeded]))
        assert result["failed_reason"] is None

    def test_unknown_status_ranks_between_in_progress_and_final(self) -> None:
        statuses = [None, "", "IN_PROGRESS", "SKIPPED", "success", "SUCCESS", "FAILED"]
        assert rank_statuses(pa.chunked_array([statuses])).to_pylist() == [0, 0, 1, 2, 2, 3, 3]


class TestIdentityAndTimes:
    def test_better_source_wins_even_with_fewer_values(self) -> None:
        poor, rich = row(source="api", model_name="m"), row(source="archive", model_name="x", model_version=2)
        for order in permutations([poor, rich]):
            result = get_single_row(merged(*([execution] for execution in order)))
            assert (result["model_name"], result["model_version"], result["source"]) == ("m", None, "api")

    def test_candidate_with_more_values_wins_within_a_source(self) -> None:
        old, new = row(model_name="m"), row(model_name="m", model_version=2)
        for order in permutations([old, new]):
            assert get_single_row(merged(*([execution] for execution in order)))["model_version"] == 2

    def test_unrecognized_members_belong_to_the_identity(self) -> None:
        result = get_single_row(merged([row(unrecognized='{"New":1}')], [row()]))
        assert result["unrecognized"] == '{"New":1}'

    def test_times_come_from_a_single_candidate(self) -> None:
        execution = row(scheduled_start_time=START, data_end_time=None)
        other = row(scheduled_start_time=None, data_end_time=START)
        result = get_single_row(merged([execution], [other]))
        assert [result["scheduled_start_time"], result["data_end_time"]] in ([START, None], [None, START])


class TestKeys:
    def test_same_window_of_two_schedulers_gives_two_rows(self) -> None:
        assert merged([row(scheduler_arn="arn:1"), row(scheduler_arn="arn:2")]).num_rows == 2

    def test_start_times_one_millisecond_apart_give_two_rows(self) -> None:
        later = START + timedelta(milliseconds=1)
        assert merged([row(), row(data_start_time=later)]).num_rows == 2

    def test_row_stays_if_no_source_returns_it(self) -> None:
        lake = merged([row(scheduler_arn="arn:gone")])
        after = merge_executions(lake, table([row()]), NOW + timedelta(days=1))
        assert decode_texts(after.slice(1)).equals(decode_texts(lake))

    def test_empty_inputs_give_an_empty_result(self) -> None:
        assert merge_executions(NOTHING, NOTHING, NOW).equals(NOTHING)


def test_a_stored_day_without_changes_needs_the_memory_of_one_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "ROWS_OF_PIECE", 500)
    rows = [
        row(scheduler_arn=f"arn:{name:02}", data_start_time=START + timedelta(minutes=minute))
        for name in range(40)
        for minute in range(250)
    ]
    stored = merged(rows)
    candidates = table(rows)
    ranges = SchedulerRanges.plan([stored, candidates])
    numbers = ranges.find(candidates)
    before, peaks = pa.total_allocated_bytes(), list[int]()

    def take_ranges() -> Iterator[pa.Table]:
        for number in range(ranges.count):
            yield candidates.filter(pa.array(numbers == number))
            peaks.append(pa.total_allocated_bytes() - before)

    after = merge_ranges(stored, ranges, take_ranges(), NOW + timedelta(days=1))

    assert len(peaks) == ranges.count - 1 == 39
    assert max(peaks) < stored.nbytes / 5
    assert after.equals(stored)
