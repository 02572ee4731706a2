"""The capacity that the documentation states."""

from pipelines.operations.capacity import FLEETS, build_capacity_table, compute_capacity
from tests.support.paths import ROOT


def test_the_page_shows_the_computed_table() -> None:
    assert build_capacity_table() in (ROOT / "docs" / "explanation" / "scale.md").read_text()


def test_a_run_of_two_gigabytes_ends_where_the_page_says() -> None:
    assert compute_capacity(450).reading_megabytes < 2_048 < compute_capacity(500).reading_megabytes


def test_the_needs_of_fleets_of_all_sizes_are_linear() -> None:
    one = compute_capacity(1)

    assert [compute_capacity(count).objects for count in FLEETS] == [one.objects * count for count in FLEETS]
