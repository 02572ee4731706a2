"""Files that list a bucket replace live listings: `aws s3 ls --recursive`, and S3 Inventory."""

import csv
import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.config.settings import BucketSettings
from resources.errors import LedgerError
from resources.read_limits import DEFAULT_LIMITS
from resources.sources.base import DayListing
from resources.sources.bucket_keys import ACCESS_CHECK_FILE
from resources.sources.factory import open_source
from resources.sources.key_files import UNREADABLE_FIX
from tests.support.s3_server import Bucket

DAY, NOW = date(2026, 9, 10), datetime(2026, 10, 9, tzinfo=UTC)
RESULTS = [f"plant 1+2/output/2026-09-10T{hour:02}:00:00Z/results.jsonl" for hour in range(24)]
OTHERS = [f"plant 1+2/output/{ACCESS_CHECK_FILE}", "plant 1+2/input/pump_20260910.csv"]
KEYS = [*RESULTS, *OTHERS, "plant 1+2/output/2026-09-11T00:00:00Z/results.jsonl"]
Write = Callable[[Path, str], None]


def write_ls(folder: Path, bucket: str) -> None:  # noqa: ARG001 (`ls` does not print the bucket)
    lines = [f"2026-09-11 08:15:00{number:11} {key}" for number, key in enumerate(KEYS)]
    (folder / "ls.txt").write_text("\n".join([*lines, "", "Total Objects: 27", "   Total Size: 351"]) + "\n")


def write_ls_of_powershell(folder: Path, bucket: str) -> None:
    write_ls(folder, bucket)
    text = (folder / "ls.txt").read_text()
    (folder / "ls.txt").write_bytes(text.replace("\n", "\r\n").encode("utf-16"))


def write_csv(folder: Path, bucket: str) -> None:
    with gzip.open(folder / "inventory.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows(
            [bucket, quote_plus(key, safe="/"), "18", "2026-09-11T08:15:00.000Z"] for key in KEYS
        )
        writer.writerow(["another-bucket", RESULTS[0].replace("output", "elsewhere"), "1"])


def write_versions(folder: Path, bucket: str) -> None:
    with (folder / "versions.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        for key in KEYS:
            encoded = quote_plus(key, safe="/")
            writer.writerow([bucket, encoded, "v2", "true", "false", "18"])
            writer.writerow([bucket, encoded, "v1", "false", "false", "18"])
        deleted = quote_plus(RESULTS[0].replace("00:00:00Z", "00:30:00Z"), safe="/")
        writer.writerow([bucket, deleted, "v2", "true", "true", ""])


def write_parquet(folder: Path, bucket: str) -> None:
    columns = {"bucket": [bucket] * len(KEYS), "key": KEYS, "is_latest": [True] * len(KEYS)}
    pq.write_table(pa.table(columns), folder / "inventory.parquet")


def open_listing(listing: Path | str, bucket: str = "plant") -> DayListing:
    settings = BucketSettings(uri=f"s3://{bucket}/plant 1+2/", listing=str(listing))
    days = open_source(settings, DEFAULT_LIMITS).days
    assert days is not None
    return days


def read(listing: DayListing) -> list[dict[str, Any]]:
    summaries = [row for page in listing.read_pages([DAY], NOW) for row in json.loads(page.body)]
    return [row for row in summaries if row["DataStartTime"].startswith(DAY.isoformat())]


@pytest.mark.parametrize(
    "write", [write_ls, write_ls_of_powershell, write_csv, write_versions, write_parquet]
)
def test_a_listing_gives_the_executions_of_the_bucket(bucket: Bucket, tmp_path: Path, write: Write) -> None:
    bucket.add(*KEYS)
    write(tmp_path, bucket.name)
    live = open_source(BucketSettings(uri=f"{bucket.uri}/plant 1+2/"), DEFAULT_LIMITS).days
    assert live is not None
    expected = read(live)
    assert [row["CustomerResultObject"]["Key"] for row in expected] == RESULTS
    listing = open_listing(tmp_path, bucket.name)
    assert read(listing) == expected
    assert listing.requests == 0
    assert listing.find_span() == (DAY, date(2026, 9, 11))
    assert listing.describe_reading()[-1].endswith("skipped 1 access-check files, 1 other keys.")


@pytest.mark.parametrize("more", [[], ["18"], ["18", "false"], ["18", "2026-09-11", "true", "0"]])
def test_a_flag_of_an_inventory_without_versions_skips_no_key(tmp_path: Path, more: list[str]) -> None:
    """The fields of an inventory are chosen by its owner, such as IsMultipartUploaded after the size."""
    with (tmp_path / "inventory.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows(["plant", quote_plus(key, safe="/"), *more] for key in KEYS)
    assert len(read(open_listing(tmp_path))) == 24


def test_a_listing_in_s3_is_read(bucket: Bucket, tmp_path: Path) -> None:
    write_ls(tmp_path, bucket.name)
    bucket.put("reports/ls.txt", (tmp_path / "ls.txt").read_bytes())
    assert len(read(open_listing(f"{bucket.uri}/reports/ls.txt", bucket.name))) == 24


def test_lines_that_are_no_listing_are_counted(tmp_path: Path) -> None:
    write_ls(tmp_path, "plant")
    with (tmp_path / "ls.txt").open("a") as file:
        file.write("fatal error: the connection was closed\n")
    listing = open_listing(tmp_path / "ls.txt")
    assert len(read(listing)) == 24
    assert "1 unreadable lines of the listing" in listing.describe_reading()[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"ORC\x0a\x03", "has the format ORC", id="ORC"),
        pytest.param(gzip.compress(b'"plant","x"\n' * 100)[:40], "truncated gzip", id="truncated"),
        pytest.param(b"", "no folder below it is named after a time", id="empty"),
        pytest.param(b'"' + b"x" * 200_000 + b'"', "field larger than field limit", id="damaged CSV"),
        pytest.param(b"PAR1 and nothing else", "Cannot read a listing", id="damaged Parquet"),
    ],
)
def test_an_unreadable_listing_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "listing").write_bytes(content)
    with pytest.raises(LedgerError, match=message):
        read(open_listing(tmp_path / "listing"))


def test_an_unreadable_file_of_a_listing_stops_no_other_and_is_named(tmp_path: Path) -> None:
    write_ls(tmp_path, "plant")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    listing = open_listing(tmp_path)
    pages = listing.read_pages([DAY], NOW)

    assert len(json.loads(next(pages).body)) == 24
    with pytest.raises(LedgerError, match="2 folders or files cannot be read, the first is") as caught:
        list(pages)
    assert f"{tmp_path}/a.parquet: " in str(caught.value)
    assert caught.value.next_step.startswith("list the bucket again")
    assert [problem.fix for problem in listing.problems] == [UNREADABLE_FIX]


def test_a_folder_without_listings_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(LedgerError, match=r"there is no \*\.csv"):
        read(open_listing(tmp_path))


def test_memory_of_a_large_listing_is_small() -> None:
    """One year of 15 schedulers has 1.6 million results; a fiftieth of it shows the bytes of each."""
    import tracemalloc  # noqa: PLC0415 (only here)

    from resources.sources.bucket_listings import ListedKeys  # noqa: PLC0415

    class Generated:
        invalid_lines, unreadable = 0, dict[str, str]()

        def read_keys(self, _: str) -> Any:
            for prefix in range(15):
                for number in range(2_000):
                    at = datetime.fromtimestamp(1_700_000_000 + number * 300, UTC)
                    yield f"p{prefix}/{at:%Y-%m-%dT%H:%M:%SZ}/results.jsonl"

    tracemalloc.start()
    listing = ListedKeys(Generated(), "b", "")  # type: ignore[arg-type]
    assert len(listing.find_prefixes().prefixes) == 15
    assert sum(len(page) for page in listing.list_keys("p7/", "2023-11-15", "2023-11-16")) == 288
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 30_000 < 60
