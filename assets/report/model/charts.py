"""Score charts as SVG paths: the score of one scheduler over time.

A chart is `bins` wide and 100 high, with 0 at the top. Time without points is left blank. Most coordinates
are whole numbers, which keeps a page with hundreds of charts small.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.anomalies.timeline import find_gaps
from assets.report.query.scope import ReportScope

HEIGHT = 100
THRESHOLD = 50
"""The height of a score of 0.5; a point above it is anomalous."""

_MIN_ANOMALY_HEIGHT = 12  # above the threshold, so that anomalous time is visible at any score
_NO_SCORE_TOP = 97  # the top of the line drawn for running time without scores

Span = tuple[float, float]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ScoreChart:
    """The path data of the layers of one chart; an empty layer is an empty string.

    Attributes:
        bins: the width.
        known: time with points.
        off: time with the machine off.
        event: anomaly events.
        score: the area under the score.
        hot: the anomalous part of that area.
        has_scores: False if the machine ran and the format of its results has no scores.
    """

    bins: int
    known: str = ""
    off: str = ""
    event: str = ""
    score: str = ""
    hot: str = ""
    has_scores: bool = True

    def layer(self, name: str) -> str:
        """Return the path data of a layer by its name."""
        return str(getattr(self, name))


@dataclass(frozen=True)
class _Bins:
    """The bins with points, oldest first; all times are in bins since the start of the range.

    Attributes:
        numbers: the number of each bin.
        first: the time of its first point.
        last: the time of its last point.
        end: the bin up to which its value is drawn: the next one, unless a gap lies between.
        cuts: the positions of bins that follow a gap.
        usual: the usual time between two points.
    """

    numbers: Whole
    first: Floats
    last: Floats
    end: Whole
    cuts: Whole
    usual: float

    def split_at_gaps(self) -> list[Whole]:
        """Return the positions of the bins of each run without a gap."""
        return np.split(np.arange(len(self.numbers)), self.cuts)


def draw_chart(scope: ReportScope, rows: pa.Table, events: Sequence[tuple[datetime, datetime]]) -> ScoreChart:
    """Draw the chart of one scheduler.

    Args:
        scope: the range of the time axis.
        rows: the bins with points, oldest first, with the columns of `ScoreBin`.
        events: start and end of each event.
    """
    event_spans = [(_to_bins(scope, start), _to_bins(scope, end)) for start, end in events]
    event = _draw_rectangles(_clip(scope, event_spans), min_width=2)
    rows = rows.filter((np.asarray(rows["bin"]) >= 0) & (np.asarray(rows["bin"]) < scope.bins))
    if rows.num_rows == 0:
        return ScoreChart(scope.bins, event=event)
    points, off, anomalous = (rows[name].to_numpy() for name in ("points", "off", "anomalous"))
    bins = _build_bins(scope, rows, points)
    score = rows["score"].to_numpy(zero_copy_only=False).astype(float)
    is_off, is_scored = off >= points, ~np.isnan(score)
    has_scores = bool(is_scored.any())
    tops = (
        np.round(HEIGHT * (1 - np.nan_to_num(score))).astype(int)
        if has_scores
        else np.full(len(score), _NO_SCORE_TOP)
    )
    marks = np.minimum(tops, THRESHOLD - _MIN_ANOMALY_HEIGHT)
    floor = THRESHOLD if has_scores else HEIGHT
    return ScoreChart(
        bins=scope.bins,
        known=_draw_rectangles(_clip(scope, _list_known_spans(bins))),
        off=_draw_rectangles(_clip(scope, _list_spans(bins, is_off))),
        event=event,
        score=_draw_areas(bins, tops, ~is_off & (is_scored if has_scores else True), HEIGHT),
        hot=_draw_areas(bins, marks, anomalous > 0, floor),
        has_scores=has_scores or bool(is_off.all()),
    )


def get_position(scope: ReportScope, at: datetime) -> float:
    """Return the position of a time within the range, from 0 to 1."""
    return (at - scope.start) / scope.length


def _build_bins(scope: ReportScope, rows: pa.Table, points: Whole) -> _Bins:
    numbers = rows["bin"].to_numpy()
    first, last = (_read_times(scope, rows[name]) for name in ("first_time", "last_time"))
    usual = _estimate_usual_step(first, last, points)
    # a gap shorter than a bin cannot be drawn
    cuts = np.flatnonzero(find_gaps(first[1:] - last[:-1], usual, scope.gap_steps, resolution=1.0)) + 1
    end = np.append(numbers[1:], scope.bins)
    before_gap = np.append(cuts - 1, len(numbers) - 1)
    end[before_gap] = np.minimum(numbers[before_gap] + max(1, round(usual)), end[before_gap])
    return _Bins(numbers, first, last, end, cuts, usual)


def _estimate_usual_step(first: Floats, last: Floats, points: Whole) -> float:
    """Return the median time between two points, within bins if most bins have several points."""
    dense = points > 1
    if dense.sum() * 2 >= len(points):
        return float(np.median((last[dense] - first[dense]) / (points[dense] - 1)))
    return float(np.median(first[1:] - last[:-1])) if len(first) > 1 else 0.0


def _to_bins(scope: ReportScope, at: datetime) -> float:
    return (at - scope.start).total_seconds() / scope.bin_seconds


def _read_times(scope: ReportScope, times: pa.ChunkedArray) -> Floats:
    seconds = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() / 1e6
    return np.asarray((seconds - scope.start.timestamp()) / scope.bin_seconds)


def _list_known_spans(bins: _Bins) -> Iterator[Span]:
    for run in bins.split_at_gaps():
        yield float(bins.first[run[0]]), float(bins.last[run[-1]] + bins.usual)


def _list_spans(bins: _Bins, selected: Flags) -> Iterator[Span]:
    """Return each span of time whose bins are all selected."""
    for run in bins.split_at_gaps():
        edges = np.diff(np.concatenate([[False], selected[run], [False]]).astype(int))
        for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            until = bins.first[run[end]] if end < len(run) else bins.last[run[-1]] + bins.usual
            yield float(bins.first[run[start]]), float(until)


def _clip(scope: ReportScope, spans: Iterable[Span]) -> Iterator[Span]:
    cut = ((max(start, 0.0), min(end, float(scope.bins))) for start, end in spans)
    return ((start, end) for start, end in cut if end > start)


def _draw_rectangles(spans: Iterable[Span], min_width: float = 1) -> str:
    paths = []
    for start, end in spans:
        left, width = _format_number(start), _format_number(max(end - start, min_width))
        paths.append(f"M{left} 0h{width}v{HEIGHT}h-{width}z")
    return "".join(paths)


def _draw_areas(bins: _Bins, tops: Whole, selected: Flags, floor: int) -> str:
    """Return the areas between the tops of the selected bins and the floor."""
    return "".join(_draw_area(bins, run, tops, selected, floor) for run in bins.split_at_gaps())


def _draw_area(bins: _Bins, run: Whole, tops: Whole, selected: Flags, floor: int) -> str:
    path: list[str] = []
    height: int | None = None  # of the current line; None: no area is open
    width = 0  # of the current line
    for index in run:
        top = int(tops[index]) if selected[index] else None
        if top != height:
            if height is not None:
                path.append(f"h{width}" + (f"V{floor}z" if top is None else f"V{top}"))
            else:
                path.append(f"M{bins.numbers[index]} {floor}V{top}")
            height, width = top, 0
        width += int(bins.end[index] - bins.numbers[index])
    if height is not None:
        path.append(f"h{width}V{floor}z")
    return "".join(path)


def _format_number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
