"""Parsing of timestamps: every format of a time gives the same millisecond on every machine."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.executions.timestamps import RawTimestamp, parse_timestamps
from assets.tables import INSTANT
from sandbox.forms import format_java_double

MOMENT = datetime(2021, 8, 31, 12, 45, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def read(*saved: RawTimestamp, zone: Any = None) -> list[datetime | None]:
    actual, reasons = parse_timestamps(saved, zone)
    assert reasons == {}
    moments: list[datetime | None] = actual.to_pylist()
    return moments


def reason(*saved: RawTimestamp, zone: Any = None) -> dict[int, str]:
    actual, reasons = parse_timestamps(saved, zone)
    assert len(actual) == len(saved)
    assert actual.type == INSTANT
    assert all(actual[position].as_py() is None for position in reasons)
    return reasons


def iso(separator: str, timespec: str) -> Callable[[datetime, timezone], str]:
    return lambda at, zone: at.astimezone(zone).isoformat(separator, timespec)


FORMS: dict[str, Callable[[datetime, timezone], RawTimestamp]] = {
    "epoch seconds": lambda at, _: at.timestamp(),
    "Java double": lambda at, _: float(format_java_double(at.timestamp())),
    "CLI v2": iso("T", "auto"),
    "json.dumps with default=str": lambda at, zone: str(at.astimezone(zone)),
    "three decimals": iso("T", "milliseconds"),
    "six decimals": iso("T", "microseconds"),
    "nine decimals": lambda at, _: f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z",
    "nine decimals and an offset": lambda at, zone: (
        f"{at.astimezone(zone):%Y-%m-%dT%H:%M:%S.%f}000{at.astimezone(zone).isoformat()[-6:]}"
    ),
    "Z": lambda at, _: f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
    "Z after a blank": lambda at, _: f"{at:%Y-%m-%d %H:%M:%S.%f}Z",
}

every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
EXACT = {name: form for name, form in FORMS.items() if name != "three decimals"}
zones = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


class TestFormats:
    @every_form
    @pytest.mark.parametrize("hours", [0, -4, 9, 5.5, -9.75], ids="{:+}".format)
    def test_every_format_gives_the_same_timestamp(
        self, form: Callable[..., RawTimestamp], hours: float
    ) -> None:
        assert read(form(MOMENT, timezone(timedelta(hours=hours)))) == [MOMENT]

    @every_form
    @given(moments, zones)
    @settings(deadline=None, max_examples=30)
    def test_milliseconds_are_kept(
        self, form: Callable[..., RawTimestamp], moment: datetime, zone: timezone
    ) -> None:
        moment -= timedelta(microseconds=moment.microsecond % 1000)
        assert read(form(moment, zone)) == [moment]

    @pytest.mark.parametrize("form", EXACT.values(), ids=EXACT)
    @given(moments, st.none() | st.integers(0, 999), zones)
    @settings(deadline=None, max_examples=40)
    def test_microseconds_are_rounded_half_up(
        self, form: Callable[..., RawTimestamp], moment: datetime, milliseconds: int | None, zone: timezone
    ) -> None:
        if milliseconds is not None:  # halves are rare otherwise
            moment = moment.replace(microsecond=1000 * milliseconds + 500)
        microseconds = (moment - EPOCH) // timedelta(microseconds=1)
        nearest = EPOCH + (microseconds + 500) // 1000 * MILLISECOND
        assert read(form(moment, zone)) == [nearest]

    @given(st.lists(st.none() | st.tuples(moments, zones, st.sampled_from([*FORMS])), max_size=6))
    @settings(deadline=None, max_examples=60)
    def test_result_does_not_depend_on_other_values(
        self, drawn: list[tuple[datetime, timezone, str] | None]
    ) -> None:
        saved = [None if value is None else FORMS[value[2]](value[0], value[1]) for value in drawn]
        assert read(*saved) == [read(value)[0] for value in saved]

    @pytest.mark.parametrize(
        ("saved", "milliseconds"),
        [
            pytest.param(0, 0, id="an int"),
            pytest.param(1.630636974278e9, 1_630_636_974_278, id="a Java double with milliseconds"),
            pytest.param(1_630_413_900.000499, 1_630_413_900_000, id="just below a half"),
            pytest.param(1_630_413_900.0005, 1_630_413_900_001, id="a half, as a number"),
            pytest.param("2021-08-31T12:45:00.0005Z", 1_630_413_900_001, id="a half, as a text"),
            pytest.param(
                "2021-08-31T12:45:00.000499999Z", 1_630_413_900_000, id="nine decimals below a half"
            ),
            pytest.param(-0.0005, 0, id="a half before the epoch"),
            pytest.param("1969-12-31T23:59:59.9995Z", 0, id="a half before the epoch, as a text"),
            pytest.param(-1, -1000, id="before the epoch"),
            pytest.param("2021-08-31T12:45Z", 1_630_413_900_000, id="without seconds"),
            pytest.param("20210831T124500Z", 1_630_413_900_000, id="the basic form"),
            pytest.param(" 2021-08-31T12:45:00Z ", 1_630_413_900_000, id="blanks around it"),
            pytest.param("0001-01-01T00:00:00Z", -62_135_596_800_000, id="the first moment"),
            pytest.param("9999-12-31T23:59:59.999Z", 253_402_300_799_999, id="the last moment"),
        ],
    )
    def test_examples(self, saved: RawTimestamp, milliseconds: int) -> None:
        actual, reasons = parse_timestamps([saved])
        assert actual.cast(pa.int64()).to_pylist() == [milliseconds]
        assert reasons == {}

    def test_none_gives_null_without_a_reason(self) -> None:
        assert read() == []
        assert read(None, None) == [None, None]
        assert read(None, MOMENT.timestamp()) == [None, MOMENT]
        assert read(None, MOMENT.isoformat()) == [None, MOMENT]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change its zone")
@pytest.mark.parametrize("machine", ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
def test_time_zone_of_the_machine_is_ignored(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [form(MOMENT, timezone(timedelta(hours=2))) for form in FORMS.values()]
    with monkeypatch.context() as patched:
        patched.setenv("TZ", machine)
        time.tzset()
        try:
            actual = read(*texts)
            alone = [read(text)[0] for text in texts]
            refused = reason("2021-08-31T12:45:00")
            in_zone = read("2021-08-31T14:45:00", zone=ZoneInfo("Europe/Berlin"))
        finally:
            patched.undo()
            time.tzset()
    assert actual == alone == [MOMENT] * len(FORMS)
    assert in_zone == [MOMENT]
    assert 0 in refused


class TestTextWithoutOffset:
    @pytest.mark.parametrize("text", ["2021-08-31T12:45:00", "2021-08-31 12:45:00.5", "2021-08-31"])
    def test_is_rejected_with_the_setting_to_change(self, text: str) -> None:
        assert "time_zone" in reason(text)[0]
        assert text in reason(text)[0]

    @pytest.mark.parametrize(
        ("zone", "expected"),
        [
            (UTC, MOMENT),
            (timezone(timedelta(hours=5, minutes=30)), MOMENT - timedelta(hours=5.5)),
            (ZoneInfo("America/New_York"), MOMENT + timedelta(hours=4)),
        ],
        ids=str,
    )
    def test_is_parsed_in_the_configured_zone(self, zone: Any, expected: datetime) -> None:
        assert read("2021-08-31T12:45:00", zone=zone) == [expected]

    def test_uses_the_daylight_saving_time_of_its_day(self) -> None:
        summer, winter = read("2021-08-31 12:45:00", "2021-12-31 12:45:00", zone=ZoneInfo("Europe/Berlin"))
        assert summer == MOMENT - timedelta(hours=2)
        assert winter == datetime(2021, 12, 31, 11, 45, tzinfo=UTC)

    def test_does_not_affect_texts_with_an_offset(self) -> None:
        texts = ("2021-08-31T12:45:00Z", "2021-08-31T12:45:00", "2021-08-31T12:45:00+09:00")
        assert read(*texts, zone=timezone(timedelta(hours=2))) == [
            MOMENT,
            MOMENT - timedelta(hours=2),
            MOMENT - timedelta(hours=9),
        ]


class TestInvalidTimestamps:
    @pytest.mark.parametrize(
        "saved",
        [
            pytest.param("", id="an empty text"),
            pytest.param("soon", id="a word"),
            pytest.param("1630413900", id="a number in quotes"),
            pytest.param("2021-13-31T12:45:00Z", id="a 13th month"),
            pytest.param("2021-02-29T12:45:00Z", id="no leap year"),
            pytest.param("0000-01-01T00:00:00Z", id="the year 0"),
            pytest.param("9999-12-31T23:59:59.9999Z", id="a text that rounds into the year 10000"),
            pytest.param("0001-01-01T00:00:00+02:00", id="before the first moment by its offset"),
            pytest.param("9999-12-31T23:59:59-02:00", id="after the last moment by its offset"),
            pytest.param(253_402_300_799.9999, id="a number that rounds into the year 10000"),
            pytest.param(1_630_413_900_000, id="epoch milliseconds"),
            pytest.param(float("nan"), id="NaN"),
            pytest.param(float("inf"), id="infinity"),
            pytest.param(float("-inf"), id="negative infinity"),
            pytest.param(10**400, id="an int beyond all doubles"),
        ],
    )
    def test_invalid_value_has_a_reason_and_others_are_parsed(self, saved: RawTimestamp) -> None:
        for neighbour in (MOMENT.timestamp(), MOMENT.isoformat()):
            actual, reasons = parse_timestamps([neighbour, saved, None, neighbour])
            assert actual.to_pylist() == [MOMENT, None, None, MOMENT]
            assert [*reasons] == [1]
            assert reasons[1]

    @given(st.lists(st.none() | st.floats() | st.integers() | st.text(max_size=30), max_size=8))
    @settings(deadline=None, max_examples=100)
    def test_every_value_gives_a_timestamp_or_a_reason(self, saved: list[RawTimestamp]) -> None:
        actual, reasons = parse_timestamps(saved, UTC)
        missing = {position for position, value in enumerate(saved) if value is None}
        read_as_null = {position for position, moment in enumerate(actual.to_pylist()) if moment is None}
        assert read_as_null == missing | set(reasons)
        assert missing.isdisjoint(reasons)

    @given(
        st.from_regex(
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
            r"(Z|[+-][0-9]{2}:?[0-9]{2})?",
            fullmatch=True,
        )
    )
    @settings(deadline=None, max_examples=100)
    def test_plausible_text_gives_the_same_result_alone_and_with_others(self, text: str) -> None:
        alone, why = parse_timestamps([text])
        among, why_among = parse_timestamps([1.5, text])
        assert alone[0].as_py() == among[1].as_py()
        assert why.get(0) == why_among.get(1)


@pytest.mark.parametrize("text", ["/Date(1630413900000)/", "/Date(1630413900000+0200)/"])
def test_dates_of_powershell_are_epoch_milliseconds(text: str) -> None:
    assert read(text, "2021-08-31T12:45:00Z", None) == [MOMENT, MOMENT, None]
    assert reason("/Date(x)/", "/Date(999999999999999)/").keys() == {0, 1}
