"""Responses that Python printed are parsed and never executed."""

import datetime as dt
import json
import pprint
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from dateutil.tz import tzlocal, tzoffset, tzutc
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from resources.sources.python_repr import parse_repr

BERLIN = ZoneInfo("Europe/Berlin")


def read(text: str, local: dt.tzinfo | None = None) -> list[object] | None:
    printed = parse_repr(text, local)
    return None if printed is None else [json.loads(document) for document in printed]


def time_of(text: str, local: dt.tzinfo | None = None) -> str | None:
    """Return the time of `{'at': <text>}`."""
    printed = parse_repr(f"{{'at': {text}}}", local)
    return None if printed is None else json.loads(printed[0])["at"]


@pytest.mark.parametrize(
    ("zone", "offset"),
    [
        (tzutc(), "+00:00"),
        (tzoffset(None, 7200), "+02:00"),
        (tzoffset("EST", -18000), "-05:00"),
        (tzoffset(None, 19800), "+05:30"),
        (UTC, "+00:00"),
        (timezone(timedelta(hours=9)), "+09:00"),
        (timezone(timedelta(hours=-3, minutes=-30), "NST"), "-03:30"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("zero", [0, 30], ids=["whole minute", "seconds"])
def test_a_time_keeps_the_zone_that_it_was_printed_with(zone: dt.tzinfo, offset: str, zero: int) -> None:
    printed = repr(datetime(2021, 8, 31, 12, 50, zero, tzinfo=zone))
    assert time_of(printed) == f"2021-08-31T12:50:{zero:02}{offset}"


@pytest.mark.parametrize(
    "printed",
    [
        pytest.param(
            "datetime.datetime(2021, 8, 31, 12, 50, tzinfo=datetime.UTC)", id="as Python 3.11 has it"
        ),
        pytest.param("datetime(2021, 8, 31, 12, 50, tzinfo=tzutc())", id="imported by name"),
        pytest.param(
            "datetime.datetime(2021, 8, 31, 12, 50, tzinfo=dateutil.tz.tz.tzutc())", id="with its modules"
        ),
    ],
)
def test_other_spellings_give_the_same_time(printed: str) -> None:
    assert time_of(printed) == "2021-08-31T12:50:00+00:00"


def test_local_times_have_no_offset_without_a_zone() -> None:
    printed = repr(datetime(2021, 8, 31, 12, 50, 0, 500_000, tzinfo=tzlocal()))
    assert "tzlocal()" in printed
    assert time_of(printed) == "2021-08-31T12:50:00.500000"
    assert time_of(printed, BERLIN) == "2021-08-31T12:50:00.500000+02:00"
    assert time_of(printed, timezone(timedelta(hours=9))) == "2021-08-31T12:50:00.500000+09:00"


def test_repeated_hours_are_distinguished_by_their_offset() -> None:
    first = repr(datetime(2021, 10, 31, 2, 30, tzinfo=tzlocal()))
    second = repr(datetime(2021, 10, 31, 2, 30, fold=1, tzinfo=tzlocal()))
    assert "fold=1" in second
    assert time_of(first, BERLIN) == "2021-10-31T02:30:00+02:00"
    assert time_of(second, BERLIN) == "2021-10-31T02:30:00+01:00"


def test_a_time_without_a_zone_stays_without_an_offset() -> None:
    assert time_of("datetime.datetime(2021, 8, 31, 12, 50)", BERLIN) == "2021-08-31T12:50:00"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@how(deadline=None)
@given(
    every=st.lists(VALUES, min_size=1, max_size=3), pretty=st.booleans(), between=st.sampled_from("\n,\n\n")
)
def test_printed_json_values_are_read_back(every: list[object], pretty: bool, between: str) -> None:
    shown = pprint.pformat if pretty else repr
    between = "\n" if between == "," else between
    text = between.join(shown({"Status": value}) for value in every)
    assert read(text) == [{"Status": value} for value in every]


def test_a_list_of_printed_summaries_is_read() -> None:
    assert read("[{'Status': 'SUCCESS',\n  'ModelName': 'a'},\n {'Status': 'FAILED'}]") == [
        [{"Status": "SUCCESS", "ModelName": "a"}, {"Status": "FAILED"}]
    ]


def test_text_is_never_executed(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    act = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    for text in (
        act,
        f"{{'a': {act}}}",
        f"{{'a': 1, {act}: 2}}",
        f"[{{'a': [x for x in [{act}]]}}]",
        f"{{'a': datetime.datetime({act})}}",
        f"{{'a': datetime.datetime(2021, 1, 1, tzinfo={act})}}",
        f"{{'a': (lambda: {act})()}}",
        f"{{'a': f'{{{act}}}'}}",
        f"{{'a': 1}}\n{act}",
        f"{{'a': 1}}; {act}",
    ):
        assert parse_repr(text, UTC) is None, text
    assert not trap.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{'a': b'bytes'}",
        "{'a': 1j}",
        "{'a': ...}",
        "{'a': name}",
        "{'a': {1, 2}}",
        "{'a': 1 + 1}",
        "{'a': -'x'}",
        "{'a': {**{}}}",
        "{'a': {1: 2}}",
        "{'a': {None: 2}}",
        "{'a': '\\ud800'}",
        "{'a': open('x')}",
        "{'a': datetime.datetime(2021, 13, 1)}",
        "{'a': datetime.datetime()}",
        "{'a': datetime.datetime('x', 1, 1)}",
        "{'a': datetime.datetime(2021, 1, 1, tzinfo=<UTC>)}",
        "{'a': datetime.datetime(2021, 1, 1, tzinfo=zone)}",
        "{'a': datetime.datetime(2021, 1, 1, tzinfo=tzoffset(None, 1e99))}",
        "{'a': datetime.datetime(2021, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(years=1)))}",
        "{'a': datetime.datetime(2021, 1, 1, fold=2)}",
        "{'a': 1",
        "{'a': 1}\nx = 1",
        "{'a': 1}{'b': 2}",
        "{'a': '\x00'}",
        "{'a': " + "[" * 5_000 + "]" * 5_000 + "}",
        "{'a': " + "-" * 50_000 + "1}",
        "{'a': " + "1+" * 50_000 + "1}",
        "{'a': " + "(" * 50_000,
        "{'a': " + "9" * 5_000 + "}",
    ],
    ids=lambda text: text if len(text) < 60 else text[:12] + "...",
)
def test_other_text_returns_none(text: str) -> None:
    assert parse_repr(text, UTC) is None


@how(deadline=None)
@given(
    st.text(alphabet="{}[]()'\"\\:, \n-+1.eEjxnNone=datetimezoulcaftTF", max_size=40).map("{'a': ".__add__)
)
def test_no_text_raises_an_error(text: str) -> None:
    printed = parse_repr(text, UTC)
    assert printed is None or all(json.loads(document) is not None for document in printed)
