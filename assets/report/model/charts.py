"""Strips of score over time, as paths that a browser draws.

A strip is `bins` wide and 100 high, 0 at the top. Where nothing is drawn nothing is known. Coordinates are
whole numbers where they can be, so that two hundred strips are a small page.
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
"""The height of a score of 0.5, from which on a point is anomalous."""

_MARK = 12  # how far anomalous time stands above that at least
_FLAT = 97  # the line of running time without scores

Span = tuple[float, float]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Strip:
    """Path data of one strip; empty where there is nothing of the kind.

    Attributes:
        bins: its width.
        known: the time that points cover.
        off: time with the machine off.
        event: anomaly events.
        score: the area under the score.
        hot: what of it is anomalous.
        has_scores: False: the machine ran, and the format of its results has none.
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
class _Steps:
    """The steps of time that have points, oldest first; times in steps since the start of the range.

    Attributes:
        bins: the number of the step.
        first: the time of its first point.
        last: the time of its last point.
        until: where the time that it stands for ends, as a step: the next one, if no gap lies between.
        cuts: after which steps a gap begins, as positions.
        usual: the usual time from point to point.
    """

    bins: Whole
    first: Floats
    last: Floats
    until: Whole
    cuts: Whole
    usual: float

    def runs(self) -> list[Whole]:
        """Positions of the steps, gap by gap."""
        return np.split(np.arange(len(self.bins)), self.cuts)


def strip(scope: ReportScope, rows: pa.Table, events: Sequence[tuple[datetime, datetime]]) -> Strip:
    """Draw the strip of one scheduler.

    Args:
        scope: the range that it spans.
        rows: the steps that have points, as the question `strips` answers them, oldest first.
        events: start and end of each event.
    """
    marked = [(_at(scope, start), _at(scope, end)) for start, end in events]
    event = _rectangles(_within(scope, marked), least=2)
    rows = rows.filter((np.asarray(rows["bin"]) >= 0) & (np.asarray(rows["bin"]) < scope.bins))
    if rows.num_rows == 0:
        return Strip(scope.bins, event=event)
    points, off, anomalous = (rows[name].to_numpy() for name in ("points", "off", "anomalous"))
    steps = _steps(scope, rows, points)
    score = rows["score"].to_numpy(zero_copy_only=False).astype(float)
    is_off, is_scored = off >= points, ~np.isnan(score)
    has_scores = bool(is_scored.any())
    tops = (
        np.round(HEIGHT * (1 - np.nan_to_num(score))).astype(int)
        if has_scores
        else np.full(len(score), _FLAT)
    )
    marks = np.minimum(tops, THRESHOLD - _MARK)
    floor = THRESHOLD if has_scores else HEIGHT
    return Strip(
        bins=scope.bins,
        known=_rectangles(_within(scope, _known(steps))),
        off=_rectangles(_within(scope, _stretches(steps, is_off))),
        event=event,
        score=_areas(steps, tops, ~is_off & (is_scored if has_scores else True), HEIGHT),
        hot=_areas(steps, marks, anomalous > 0, floor),
        has_scores=has_scores or bool(is_off.all()),
    )


def usual_step(first: Floats, last: Floats, points: Whole) -> float:
    """Return the usual time from point to point, in the unit of the times.

    Args:
        first: the time of the first point of each step.
        last: the time of its last point.
        points: how many it has.
    """
    dense = points > 1
    if dense.sum() * 2 >= len(points):
        return float(np.median((last[dense] - first[dense]) / (points[dense] - 1)))
    return float(np.median(first[1:] - last[:-1])) if len(first) > 1 else 0.0


def position(scope: ReportScope, at: datetime) -> float:
    """Return where an instant lies in the range, from 0 to 1."""
    return (at - scope.start) / scope.length


def _steps(scope: ReportScope, rows: pa.Table, points: Whole) -> _Steps:
    bins = rows["bin"].to_numpy()
    first, last = (_times(scope, rows[name]) for name in ("first_time", "last_time"))
    usual = usual_step(first, last, points)
    # a gap that is shorter than a bin cannot be drawn
    cuts = np.flatnonzero(find_gaps(first[1:] - last[:-1], usual, scope.gap_steps, resolution=1.0)) + 1
    until = np.append(bins[1:], scope.bins)
    ends = np.append(cuts - 1, len(bins) - 1)
    until[ends] = np.minimum(bins[ends] + max(1, round(usual)), until[ends])
    return _Steps(bins, first, last, until, cuts, usual)


def _at(scope: ReportScope, at: datetime) -> float:
    return (at - scope.start).total_seconds() / scope.bin_seconds


def _times(scope: ReportScope, times: pa.ChunkedArray) -> Floats:
    seconds = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() / 1e6
    return np.asarray((seconds - scope.start.timestamp()) / scope.bin_seconds)


def _known(steps: _Steps) -> Iterator[Span]:
    for run in steps.runs():
        yield float(steps.first[run[0]]), float(steps.last[run[-1]] + steps.usual)


def _stretches(steps: _Steps, chosen: Flags) -> Iterator[Span]:
    """Stretches of time whose steps are all chosen."""
    for run in steps.runs():
        edges = np.diff(np.concatenate([[False], chosen[run], [False]]).astype(int))
        for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            until = steps.first[run[end]] if end < len(run) else steps.last[run[-1]] + steps.usual
            yield float(steps.first[run[start]]), float(until)


def _within(scope: ReportScope, spans: Iterable[Span]) -> Iterator[Span]:
    cut = ((max(start, 0.0), min(end, float(scope.bins))) for start, end in spans)
    return ((start, end) for start, end in cut if end > start)


def _rectangles(spans: Iterable[Span], least: float = 1) -> str:
    """Full-height rectangles; each is wide enough to be seen."""
    drawn = []
    for start, end in spans:
        left, width = _number(start), _number(max(end - start, least))
        drawn.append(f"M{left} 0h{width}v{HEIGHT}h-{width}z")
    return "".join(drawn)


def _areas(steps: _Steps, tops: Whole, chosen: Flags, floor: int) -> str:
    """The areas between the tops of chosen steps and a floor."""
    return "".join(_area(steps, run, tops, chosen, floor) for run in steps.runs())


def _area(steps: _Steps, run: Whole, tops: Whole, chosen: Flags, floor: int) -> str:
    drawn: list[str] = []
    pen: int | None = None  # the height that the pen is at; None: it is up
    ahead = 0  # how far it has gone at that height
    for index in run:
        top = int(tops[index]) if chosen[index] else None
        if top != pen:
            if pen is not None:
                drawn.append(f"h{ahead}" + (f"V{floor}z" if top is None else f"V{top}"))
            else:
                drawn.append(f"M{steps.bins[index]} {floor}V{top}")
            pen, ahead = top, 0
        ahead += int(steps.until[index] - steps.bins[index])
    if pen is not None:
        drawn.append(f"h{ahead}V{floor}z")
    return "".join(drawn)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
