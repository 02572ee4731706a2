"""Saved responses: which of them a run reads, what is remembered of them, and what people are told."""

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


def remembered(
    file: StoredFile = FILE, days: tuple[int, int] | None = (2, 4), **values: Any
) -> ArchiveRecord:
    """What is known of a file whose executions lie on the days from one to the other."""
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


def is_read(
    before: ArchiveRecord | None,
    wanted: list[date],
    *,
    file: StoredFile = FILE,
    in_lake: list[date] = DAYS,
    version: int = 1,
) -> bool:
    files = {} if before is None else {before.uri: before}
    chosen = select_files_to_read([file], files, version, wanted, in_lake)
    assert chosen in ([], [file])
    return bool(chosen)


class TestAFileIsRead:
    MERGED = remembered(merged_dates=frozenset(DAYS[2:5]))

    def test_when_it_is_new(self) -> None:
        assert is_read(None, DAYS)

    def test_even_by_a_run_that_wants_no_day_it_could_reach(self) -> None:
        assert is_read(None, [])  # it is not known what it reaches before it was read

    @pytest.mark.parametrize(
        "now",
        [
            pytest.param(replace(FILE, size_bytes=101), id="its size changed"),
            pytest.param(replace(FILE, etag="other"), id="its tag changed, be it the same bytes"),
        ],
    )
    def test_when_it_may_have_changed(self, now: StoredFile) -> None:
        assert is_read(self.MERGED, DAYS, file=now)

    def test_when_it_would_be_read_otherwise_today(self) -> None:
        assert is_read(self.MERGED, DAYS, version=2)

    def test_when_it_could_not_be_opened_before(self) -> None:
        assert is_read(remembered(days=None, etag=None, content_hash=None, error="a reason"), [])

    def test_when_it_reaches_a_wanted_day_that_it_was_not_merged_into(self) -> None:
        assert is_read(remembered(merged_dates=frozenset(DAYS[2:4])), DAYS[4:5])

    def test_when_a_day_that_it_reaches_is_not_in_the_lake_any_more(self) -> None:
        assert is_read(self.MERGED, DAYS[3:4], in_lake=DAYS[:3])


class TestAFileIsNotRead:
    MERGED = remembered(merged_dates=frozenset(DAYS[2:5]))

    def test_when_all_wanted_days_that_it_reaches_have_it(self) -> None:
        assert not is_read(self.MERGED, DAYS)

    @pytest.mark.parametrize("day", [0, 1, 5, 6])
    def test_when_it_does_not_reach_the_wanted_day(self, day: int) -> None:
        assert not is_read(remembered(), DAYS[day : day + 1])

    @pytest.mark.parametrize("day", [2, 4], ids=["first", "last"])
    def test_but_it_is_for_its_first_and_last_day(self, day: int) -> None:
        assert is_read(remembered(), DAYS[day : day + 1])

    def test_when_only_a_day_is_missing_that_nobody_wants(self) -> None:
        assert not is_read(remembered(merged_dates=frozenset(DAYS[2:4])), DAYS[2:4])

    def test_when_it_holds_nothing_and_did_not_change(self) -> None:
        assert not is_read(remembered(days=None), DAYS)

    def test_when_its_broken_part_is_known_and_did_not_change(self) -> None:
        assert not is_read(replace(self.MERGED, error="line 3: no JSON", rejected=2), DAYS)

    def test_when_others_are(self) -> None:
        others = [replace(FILE, uri=uri) for uri in ("dumps/b.json", "dumps/c.json")]
        chosen = select_files_to_read([others[1], FILE, others[0]], {FILE.uri: self.MERGED}, 1, DAYS, DAYS)
        assert chosen == [others[1], others[0]]


class TestWhatIsRemembered:
    def test_a_file_that_was_read_has_the_days_it_reaches_among_those_merged(self) -> None:
        rows = load_records(update_index(NOTHING, [remembered()], DAYS[:4]))
        assert rows[FILE.uri].merged_dates == set(DAYS[2:4])

    def test_days_of_the_same_bytes_add_up(self) -> None:
        table = update_index(NOTHING, [remembered()], DAYS[:3])
        rows = load_records(update_index(table, [remembered(replace(FILE, etag="touched"))], DAYS[4:]))
        assert rows[FILE.uri].merged_dates == {DAYS[2], DAYS[4]}
        assert rows[FILE.uri].etag == "touched"

    @pytest.mark.parametrize(
        "changed",
        [
            pytest.param(remembered(content_hash="other"), id="other bytes"),
            pytest.param(remembered(reader_version=2), id="read in another way"),
            pytest.param(remembered(days=None, content_hash=None, error="a reason"), id="not to be opened"),
        ],
    )
    def test_of_what_changed_only_the_days_of_this_run_count(self, changed: ArchiveRecord) -> None:
        table = update_index(NOTHING, [remembered()], DAYS)
        rows = load_records(update_index(table, [changed], DAYS[4:5]))
        assert rows[FILE.uri].merged_dates == (set() if changed.error else {DAYS[4]})

    def test_two_files_that_could_not_be_opened_are_not_the_same_bytes(self) -> None:
        closed = remembered(content_hash=None)
        assert not closed.has_same_content(closed)

    def test_files_that_were_not_read_stay_be_they_gone_or_not(self) -> None:
        table = update_index(NOTHING, [remembered()], DAYS)
        other = replace(FILE, uri="dumps/b.json")
        after = load_records(update_index(table, [remembered(other)], DAYS))
        assert after[FILE.uri] == load_records(table)[FILE.uri]
        assert set(after) == {FILE.uri, other.uri}

    def test_nothing_read_changes_nothing(self) -> None:
        table = update_index(NOTHING, [remembered()], DAYS)
        assert update_index(table, [], DAYS).equals(table)
        assert update_index(NOTHING, [], DAYS).equals(NOTHING)

    @given(
        st.lists(
            st.builds(
                remembered,
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
    def test_it_comes_back_from_the_table_as_it_was(self, files: list[ArchiveRecord]) -> None:
        last = {file.uri: file for file in files}
        table = update_index(NOTHING, last.values(), DAYS)
        assert load_records(table) == {
            uri: replace(file, merged_dates=frozenset(file.select_covered_days(DAYS)))
            for uri, file in last.items()
        }
        assert table.schema.equals(ARCHIVE_FILES.schema, check_metadata=True)
        assert table["uri"].to_pylist() == sorted(last)


class TestExecutionsOutsideTheHistory:
    TODAY = date(2026, 10, 8)

    def test_are_none_where_all_days_are_partitions(self) -> None:
        files = [remembered(), remembered(days=None)]
        assert describe_files_outside_history(files, Days(DAYS[2]), self.TODAY) == []
        assert describe_files_outside_history(files, Days(DAYS[2], DAYS[5]), self.TODAY) == []
        assert describe_files_outside_history([], Days(DAYS[0]), self.TODAY) == []

    def test_before_it_name_the_date_to_set_and_the_file_that_needs_it(self) -> None:
        files = [remembered(), remembered(replace(FILE, uri="dumps/old.json"), (0, 1))]
        (said,) = describe_files_outside_history(files, Days(DAYS[3]), self.TODAY)
        assert 'start_date = "2026-10-01"' in said
        assert "dumps/old.json" in said
        assert "2 saved responses" in said

    def test_after_it_name_the_date_to_set_which_is_no_part_of_it(self) -> None:
        (said,) = describe_files_outside_history([remembered()], Days(DAYS[0], DAYS[3]), self.TODAY)
        assert 'end_date = "2026-10-06"' in said  # the last is of the 5th
        assert "dumps/a.json" in said
        assert "1 saved response," in said

    def test_on_both_sides_are_told_of_both(self) -> None:
        assert (
            len(describe_files_outside_history([remembered(days=(0, 6))], Days(DAYS[1], DAYS[2]), self.TODAY))
            == 2
        )

    @pytest.mark.parametrize(("today", "told"), [(DAYS[4], 0), (DAYS[3], 1)], ids=["today", "tomorrow"])
    def test_in_the_future_are_a_matter_of_clocks_and_of_no_setting(self, today: date, told: int) -> None:
        said = describe_files_outside_history([remembered()], Days(DAYS[0]), today)
        assert len(said) == told
        assert all("clocks" in one and "end_date" not in one for one in said)

    def test_would_be_none_with_the_dates_that_are_told(self) -> None:
        files = [remembered(days=(0, 6))]
        said = " ".join(describe_files_outside_history(files, Days(DAYS[2], DAYS[3]), self.TODAY))
        first, end = (
            date.fromisoformat(said.split(f'{name} = "')[1][:10]) for name in ("start_date", "end_date")
        )
        assert describe_files_outside_history(files, Days(first, end), self.TODAY) == []


class TestOddities:
    def test_of_whole_files_there_are_none(self) -> None:
        assert describe_problems([remembered(), remembered(days=None)]) == []

    def test_a_file_that_gave_nothing_is_named_with_the_reason(self) -> None:
        (said,) = describe_problems([remembered(days=None, error="is cut short")])
        assert said == "dumps/a.json: is cut short. The other files were read."

    def test_a_file_that_gave_something_is_said_to(self) -> None:
        (said,) = describe_problems([remembered(error="line 3: no JSON")])
        assert said == "dumps/a.json: line 3: no JSON. The rest of the file was read."

    def test_summaries_of_no_use_are_counted_and_their_files_named(self) -> None:
        files = [remembered(replace(FILE, uri=f"dumps/{number}.json"), rejected=2) for number in range(7)]
        (said,) = describe_problems(files)
        assert "14 summaries" in said
        assert "rejected_executions" in said
        assert "dumps/4.json and 2 more" in said
        assert "1 summary " in describe_problems([remembered(rejected=1)])[0]

    def test_files_cut_off_by_paging_are_named(self) -> None:
        (said,) = describe_problems(
            [remembered(complete=False), remembered(replace(FILE, uri="dumps/z.json"))]
        )
        assert "1 saved response with" in said
        assert "NextToken" in said
        assert "dumps/a.json" in said


class TestAFileThatEndsWithANextToken:
    @staticmethod
    def files(*named: tuple[str, tuple[int, int] | None, bool]) -> list[ArchiveRecord]:
        return [remembered(replace(FILE, uri=uri), days, complete=complete) for uri, days, complete in named]

    def told(self, *named: tuple[str, tuple[int, int] | None, bool]) -> list[str]:
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
    def test_is_whole_with_the_next_page_which_is_older_beside_it(self, first: str, second: str) -> None:
        assert self.told((first, (3, 6), False), (second, (0, 3), True)) == []

    def test_lacks_what_follows_the_last_page_of_a_set(self) -> None:
        pages = (("p-1.json", (4, 6), False), ("p-2.json", (2, 4), False), ("p-3.json", (0, 2), False))
        assert self.told(*pages) == ["p-3.json"]

    def test_lacks_a_page_that_is_missing_in_the_middle(self) -> None:
        assert self.told(("p-1.json", (4, 6), False), ("p-3.json", (0, 2), True)) == ["p-1.json"]

    def test_is_not_whole_with_the_dump_of_the_next_day_beside_it(self) -> None:
        days = (("d-2026-10-01.json", (0, 1), False), ("d-2026-10-02.json", (1, 2), True))
        assert self.told(*days) == ["d-2026-10-01.json"]

    @pytest.mark.parametrize("name", ["x.json", "1.json", "page.jsonl"])
    def test_is_not_whole_alone(self, name: str) -> None:
        assert self.told((name, (0, 3), False)) == [name]

    def test_is_not_whole_with_a_next_page_that_holds_nothing(self) -> None:
        assert self.told(("p-1.json", (4, 6), False), ("p-2.json", None, True)) == ["p-1.json"]

    def test_that_was_listed_twice_is_told_once(self) -> None:
        assert self.told(("x.json", (0, 3), False), ("x.json", (0, 3), False)) == ["x.json"]

    def test_is_not_asked_for_where_nobody_knows(self) -> None:
        assert (
            find_files_with_missing_pages([remembered(complete=None)])
            == find_files_with_missing_pages([remembered(complete=True)])
            == []
        )


@given(st.integers(0, 6), st.integers(0, 6), st.sets(st.sampled_from(DAYS)))
def test_a_file_reaches_the_days_from_its_first_to_its_last_execution(
    one: int, other: int, days: set[date]
) -> None:
    first, last = sorted((one, other))
    assert remembered(days=(first, last)).select_covered_days(days) == days & set(DAYS[first : last + 1])
    assert remembered(days=None).select_covered_days(days) == set()


def test_days_are_days_in_utc() -> None:
    late = datetime(2026, 10, 6, 23, 59, 59, tzinfo=UTC)
    file = replace(remembered(), first_data_start_time=late, last_data_start_time=late + timedelta(seconds=1))
    table = update_index(NOTHING, [file], [])
    assert load_records(table)[FILE.uri].select_covered_days([*DAYS]) == {
        date(2026, 10, 6),
        date(2026, 10, 7),
    }
