"""Index of saved responses: selection of files to read, updates of the table, and messages about problems."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.archive_index import (
    ArchiveRecord,
    describe_files_outside_history,
    describe_problems,
    find_files_with_missing_pages,
    load_records,
    select_files_to_read,
    update_index,
)
from assets.framework.time_windows import Days
from assets.tables import ARCHIVE_FILES
from resources.storage.base import StoredFile

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
NOTHING = ARCHIVE_FILES.schema.empty_table()
DAYS = [date(2026, 10, day) for day in range(1, 8)]
FILE = StoredFile("dumps/a.json", 100, "tag")


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def record(file: StoredFile = FILE, days: tuple[int, int] | None = (2, 4), **values: Any) -> ArchiveRecord:
    """Return a record whose executions range over `DAYS` from the first to the last index."""
    first, last = (None, None) if days is None else (noon(DAYS[days[0]]), noon(DAYS[days[1]]))
    row = ArchiveRecord(
        uri=file.uri,
        size_bytes=file.size_bytes,
        etag=file.etag,
        reader_version=1,
        recorded_at=NOW,
        content_hash="hash",
        executions=0 if days is None else 5,
        first_data_start_time=first,
        last_data_start_time=last,
        complete=True,
    )
    return replace(row, **values)


def is_selected(
    before: ArchiveRecord | None,
    requested: list[date],
    *,
    file: StoredFile = FILE,
    in_lake: list[date] = DAYS,
    version: int = 1,
) -> bool:
    files = {} if before is None else {before.uri: before}
    selected = select_files_to_read([file], files, version, requested, in_lake)
    assert selected in ([], [file])
    return bool(selected)


class TestFileIsSelected:
    MERGED = record(merged_dates=frozenset(DAYS[2:5]))

    def test_if_it_is_new(self) -> None:
        assert is_selected(None, DAYS)

    def test_if_it_is_new_and_no_day_is_requested(self) -> None:
        assert is_selected(None, [])  # the covered days are unknown before the first read

    @pytest.mark.parametrize(
        "now",
        [
            pytest.param(replace(FILE, size_bytes=101), id="its size changed"),
            pytest.param(replace(FILE, etag="other"), id="its ETag changed"),
        ],
    )
    def test_if_size_or_etag_changed(self, now: StoredFile) -> None:
        assert is_selected(self.MERGED, DAYS, file=now)

    def test_if_the_reader_version_changed(self) -> None:
        assert is_selected(self.MERGED, DAYS, version=2)

    def test_if_it_was_unreadable(self) -> None:
        assert is_selected(record(days=None, etag=None, content_hash=None, error="a reason"), [])

    def test_if_it_covers_a_requested_day_that_it_is_not_merged_into(self) -> None:
        assert is_selected(record(merged_dates=frozenset(DAYS[2:4])), DAYS[4:5])

    def test_if_a_covered_day_is_no_longer_in_the_lake(self) -> None:
        assert is_selected(self.MERGED, DAYS[3:4], in_lake=DAYS[:3])


class TestFileIsNotSelected:
    MERGED = record(merged_dates=frozenset(DAYS[2:5]))

    def test_if_it_is_merged_into_all_requested_days(self) -> None:
        assert not is_selected(self.MERGED, DAYS)

    @pytest.mark.parametrize("day", [0, 1, 5, 6])
    def test_if_it_does_not_cover_the_requested_day(self, day: int) -> None:
        assert not is_selected(record(), DAYS[day : day + 1])

    @pytest.mark.parametrize("day", [2, 4], ids=["first", "last"])
    def test_except_for_its_first_and_last_day(self, day: int) -> None:
        assert is_selected(record(), DAYS[day : day + 1])

    def test_if_the_missing_day_is_not_requested(self) -> None:
        assert not is_selected(record(merged_dates=frozenset(DAYS[2:4])), DAYS[2:4])

    def test_if_it_is_unchanged_without_executions(self) -> None:
        assert not is_selected(record(days=None), DAYS)

    def test_if_it_is_unchanged_with_a_known_error(self) -> None:
        assert not is_selected(replace(self.MERGED, error="line 3: no JSON", rejected=2), DAYS)

    def test_if_only_other_files_are_new(self) -> None:
        others = [replace(FILE, uri=uri) for uri in ("dumps/b.json", "dumps/c.json")]
        selected = select_files_to_read([others[1], FILE, others[0]], {FILE.uri: self.MERGED}, 1, DAYS, DAYS)
        assert selected == [others[1], others[0]]


class TestUpdateIndex:
    def test_merged_dates_are_the_covered_days_among_the_merged_ones(self) -> None:
        rows = load_records(update_index(NOTHING, [record()], DAYS[:4]))
        assert rows[FILE.uri].merged_dates == set(DAYS[2:4])

    def test_merged_dates_accumulate_for_equal_content(self) -> None:
        table = update_index(NOTHING, [record()], DAYS[:3])
        rows = load_records(update_index(table, [record(replace(FILE, etag="touched"))], DAYS[4:]))
        assert rows[FILE.uri].merged_dates == {DAYS[2], DAYS[4]}
        assert rows[FILE.uri].etag == "touched"

    @pytest.mark.parametrize(
        "changed",
        [
            pytest.param(record(content_hash="other"), id="other bytes"),
            pytest.param(record(reader_version=2), id="other reader version"),
            pytest.param(record(days=None, content_hash=None, error="a reason"), id="unreadable"),
        ],
    )
    def test_merged_dates_restart_for_changed_content(self, changed: ArchiveRecord) -> None:
        table = update_index(NOTHING, [record()], DAYS)
        rows = load_records(update_index(table, [changed], DAYS[4:5]))
        assert rows[FILE.uri].merged_dates == (set() if changed.error else {DAYS[4]})

    def test_unreadable_files_never_have_the_same_content(self) -> None:
        closed = record(content_hash=None)
        assert not closed.has_content(closed.content_hash, closed.reader_version)

    def test_files_that_were_not_read_stay(self) -> None:
        table = update_index(NOTHING, [record()], DAYS)
        other = replace(FILE, uri="dumps/b.json")
        after = load_records(update_index(table, [record(other)], DAYS))
        assert after[FILE.uri] == load_records(table)[FILE.uri]
        assert set(after) == {FILE.uri, other.uri}

    def test_no_read_file_changes_nothing(self) -> None:
        table = update_index(NOTHING, [record()], DAYS)
        assert update_index(table, [], DAYS).equals(table)
        assert update_index(NOTHING, [], DAYS).equals(NOTHING)

    @given(
        st.lists(
            st.builds(
                record,
                st.sampled_from("abc").map(lambda name: replace(FILE, uri=name)),
                st.none() | st.tuples(st.integers(0, 3), st.integers(3, 6)),
                rejected=st.integers(0, 3),
                error=st.sampled_from([None, "x"]),
                complete=st.sampled_from([None, True, False]),
                content_hash=st.sampled_from([None, "one", "two"]),
            ),
            max_size=4,
        )
    )
    @settings(deadline=None, max_examples=40)
    def test_records_survive_the_round_trip_through_the_table(self, files: list[ArchiveRecord]) -> None:
        last = {file.uri: file for file in files}
        table = update_index(NOTHING, last.values(), DAYS)
        assert load_records(table) == {
            uri: replace(file, merged_dates=frozenset(file.select_covered_days(DAYS)))
            for uri, file in last.items()
        }
        assert table.schema.equals(ARCHIVE_FILES.schema, check_metadata=True)
        assert table["uri"].to_pylist() == sorted(last)


class TestFilesOutsideHistory:
    TODAY = date(2026, 10, 8)

    def test_no_message_if_all_days_are_partitions(self) -> None:
        files = [record(), record(days=None)]
        assert describe_files_outside_history(files, Days(DAYS[2]), self.TODAY) == []
        assert describe_files_outside_history(files, Days(DAYS[2], DAYS[5]), self.TODAY) == []
        assert describe_files_outside_history([], Days(DAYS[0]), self.TODAY) == []

    def test_message_about_earlier_days_has_the_date_to_set_and_the_file(self) -> None:
        files = [record(), record(replace(FILE, uri="dumps/old.json"), (0, 1))]
        (message,) = describe_files_outside_history(files, Days(DAYS[3]), self.TODAY)
        assert 'start_date = "2026-10-01"' in message
        assert "dumps/old.json" in message
        assert "2 saved responses" in message

    def test_message_about_later_days_has_the_exclusive_end_date_to_set(self) -> None:
        (message,) = describe_files_outside_history([record()], Days(DAYS[0], DAYS[3]), self.TODAY)
        assert 'end_date = "2026-10-06"' in message  # the last is of the 5th
        assert "dumps/a.json" in message
        assert "1 saved response," in message

    def test_earlier_and_later_days_give_two_messages(self) -> None:
        assert (
            len(describe_files_outside_history([record(days=(0, 6))], Days(DAYS[1], DAYS[2]), self.TODAY))
            == 2
        )

    @pytest.mark.parametrize(
        ("today", "message_count"), [(DAYS[4], 0), (DAYS[3], 1)], ids=["today", "tomorrow"]
    )
    def test_message_about_future_days_suggests_comparing_clocks(
        self, today: date, message_count: int
    ) -> None:
        messages = describe_files_outside_history([record()], Days(DAYS[0]), today)
        assert len(messages) == message_count
        assert all("clocks" in message and "end_date" not in message for message in messages)

    def test_years_that_no_history_can_include_suggest_comparing_clocks(self) -> None:
        far = replace(record(), last_data_start_time=datetime(9999, 12, 31, tzinfo=UTC))
        (message,) = describe_files_outside_history([far], Days(DAYS[0], DAYS[3]), self.TODAY)
        assert "clocks" in message
        (message,) = describe_files_outside_history([far, record()], Days(DAYS[0], DAYS[3]), self.TODAY)
        assert 'end_date = "2026-10-06"' in message

    def test_suggested_dates_remove_the_messages(self) -> None:
        files = [record(days=(0, 6))]
        messages = " ".join(describe_files_outside_history(files, Days(DAYS[2], DAYS[3]), self.TODAY))
        first, end = (
            date.fromisoformat(messages.split(f'{name} = "')[1][:10]) for name in ("start_date", "end_date")
        )
        assert describe_files_outside_history(files, Days(first, end), self.TODAY) == []


class TestDescribeProblems:
    def test_complete_files_give_no_message(self) -> None:
        assert describe_problems([record(), record(days=None)]) == []

    def test_unreadable_file_is_named_with_the_reason(self) -> None:
        (message,) = describe_problems([record(days=None, error="is cut short")])
        assert message == "dumps/a.json: is cut short. The other files were read."

    def test_partly_readable_file_is_named_with_the_reason(self) -> None:
        (message,) = describe_problems([record(error="line 3: no JSON")])
        assert message == "dumps/a.json: line 3: no JSON. The rest of the file was read."

    def test_rejected_summaries_are_counted_and_their_files_named(self) -> None:
        files = [record(replace(FILE, uri=f"dumps/{number}.json"), rejected=2) for number in range(7)]
        (message,) = describe_problems(files)
        assert "14 summaries" in message
        assert "rejected_executions" in message
        assert "dumps/4.json and 2 more" in message
        assert "1 summary " in describe_problems([record(rejected=1)])[0]

    def test_files_with_missing_pages_are_named(self) -> None:
        (message,) = describe_problems([record(complete=False), record(replace(FILE, uri="dumps/z.json"))])
        assert "1 saved response with" in message
        assert "NextToken" in message
        assert "dumps/a.json" in message


class TestFilesWithMissingPages:
    @staticmethod
    def files(*named: tuple[str, tuple[int, int] | None, bool]) -> list[ArchiveRecord]:
        return [record(replace(FILE, uri=uri), days, complete=complete) for uri, days, complete in named]

    def find_incomplete(self, *named: tuple[str, tuple[int, int] | None, bool]) -> list[str]:
        return [file.uri for file in find_files_with_missing_pages(self.files(*named))]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("x-page-1.json", "x-page-2.json"),
            ("x-page-9.json", "x-page-10.json"),
            ("x-009.json.gz", "x-010.json.gz"),
            ("2026-10-06/1.json", "2026-10-06/2.json"),
        ],
    )
    def test_next_number_with_older_executions_is_the_next_page(self, first: str, second: str) -> None:
        assert self.find_incomplete((first, (3, 6), False), (second, (0, 3), True)) == []

    def test_last_page_with_a_token_lacks_a_page(self) -> None:
        pages = (("p-1.json", (4, 6), False), ("p-2.json", (2, 4), False), ("p-3.json", (0, 2), False))
        assert self.find_incomplete(*pages) == ["p-3.json"]

    def test_missing_page_in_the_middle_is_found(self) -> None:
        assert self.find_incomplete(("p-1.json", (4, 6), False), ("p-3.json", (0, 2), True)) == ["p-1.json"]

    def test_next_number_with_newer_executions_is_not_the_next_page(self) -> None:
        days = (("d-2026-10-01.json", (0, 1), False), ("d-2026-10-02.json", (1, 2), True))
        assert self.find_incomplete(*days) == ["d-2026-10-01.json"]

    @pytest.mark.parametrize("name", ["x.json", "1.json", "page.jsonl"])
    def test_single_file_with_a_token_lacks_a_page(self, name: str) -> None:
        assert self.find_incomplete((name, (0, 3), False)) == [name]

    def test_next_number_without_executions_is_not_the_next_page(self) -> None:
        assert self.find_incomplete(("p-1.json", (4, 6), False), ("p-2.json", None, True)) == ["p-1.json"]

    def test_file_that_is_listed_twice_is_returned_once(self) -> None:
        assert self.find_incomplete(("x.json", (0, 3), False), ("x.json", (0, 3), False)) == ["x.json"]

    def test_unknown_or_complete_files_lack_no_page(self) -> None:
        assert (
            find_files_with_missing_pages([record(complete=None)])
            == find_files_with_missing_pages([record(complete=True)])
            == []
        )


@given(st.integers(0, 6), st.integers(0, 6), st.sets(st.sampled_from(DAYS)))
def test_covered_days_range_from_the_first_to_the_last_execution(
    one: int, other: int, days: set[date]
) -> None:
    first, last = sorted((one, other))
    assert record(days=(first, last)).select_covered_days(days) == days & set(DAYS[first : last + 1])
    assert record(days=None).select_covered_days(days) == set()


def test_covered_days_are_utc_days() -> None:
    late = datetime(2026, 10, 6, 23, 59, 59, tzinfo=UTC)
    file = replace(record(), first_data_start_time=late, last_data_start_time=late + timedelta(seconds=1))
    table = update_index(NOTHING, [file], [])
    assert load_records(table)[FILE.uri].select_covered_days([*DAYS]) == {
        date(2026, 10, 6),
        date(2026, 10, 7),
    }
