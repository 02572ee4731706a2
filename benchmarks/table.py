"""The results of benchmarks as a Markdown table and as an SVG chart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from statistics import median
from textwrap import wrap

from benchmarks.cases import OURS, Case, Target

_WIDTH, _LABELS, _BARS, _LINE, _TITLE_LETTERS = 400, 130, 220, 19, 52
_STYLE = """
text { font: 13px sans-serif; fill: #1f2328 } .case { font-weight: bold } .label { text-anchor: end }
.page { fill: #ffffff } .ours { fill: #2563eb } .floor { fill: #16a34a } .other { fill: #8b949e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 } .ours { fill: #58a6ff } .floor { fill: #3fb950 }
}
"""
_CLASSES = {OURS: "ours", "floor": "floor", "a trivial asset": "floor"}


@dataclass(frozen=True)
class Figure:
    """One figure with its target.

    Attributes:
        case: The name of the case.
        title: What the case does.
        figure: What is measured.
        value: The median of all rounds; None: not measured.
        lowest: The lowest value of all rounds.
        highest: The highest value of all rounds.
        bound: The target.
        is_upper: Whether the value must be at most the bound.
        is_met: Whether the value meets the target; None: not measured.
        load: The load average before the case; None: not measured.
        reason: Why the target is missed.
        floor: The least value that is possible with this design; None: not measured.
    """

    case: str
    title: str
    figure: str
    value: float | None
    lowest: float | None
    highest: float | None
    bound: float
    is_upper: bool
    is_met: bool | None
    load: float | None
    reason: str = ""
    floor: float | None = None

    @classmethod
    def from_values(
        cls,
        case: Case,
        target: Target,
        values: Sequence[float],
        load: float | None,
        floors: Sequence[float] = (),
    ) -> "Figure":
        """Compute the figure of a target from the values of all rounds, and those of its floor."""
        value = median(values) if values else None
        is_met = None if value is None else target.is_met(value)
        return cls(
            case.name,
            case.title,
            target.figure,
            value,
            min(values, default=None),
            max(values, default=None),
            target.bound,
            target.is_upper,
            is_met,
            load,
            target.reason if is_met is False else "",
            median(floors) if floors else None,
        )


def build_table(figures: Sequence[Figure], note: str, problems: Iterable[str] = ()) -> str:
    """Build the table, the reasons of missed targets, and what failed; `note` says where it was measured."""
    lines = ["| what | figure | measured | target | met | load |", "| --- | --- | ---: | ---: | --- | ---: |"]
    title = ""
    for figure in figures:
        is_first = figure.title != title
        title = figure.title
        cells = (
            title if is_first else "",
            figure.figure,
            _format_value(figure),
            f"{'≤' if figure.is_upper else '≥'} {figure.bound:g}",
            {True: "yes", False: "no", None: ""}[figure.is_met],
            f"{figure.load:.1f}" if is_first and figure.load is not None else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    measured = [figure for figure in figures if figure.is_met is not None]
    met = sum(bool(figure.is_met) for figure in measured)
    lines += ["", f"{met} of {len(measured)} measured targets are met. Measured in one run: {note}."]
    lines += _list_items("Missed targets:", _explain([figure for figure in measured if not figure.is_met]))
    lines += _list_items("Not measured:", [problem.splitlines()[0] for problem in problems])
    return "\n".join(lines)


def _explain(missed: Sequence[Figure]) -> list[str]:
    """Return the reason of each missed target; figures with the same reason are stated together."""
    by_reason: dict[str, list[Figure]] = {}
    for figure in missed:
        by_reason.setdefault(figure.reason, []).append(figure)
    items = []
    for reason, figures in by_reason.items():
        titles = groupby(figures, key=lambda figure: figure.title)
        what = "; ".join(f"{title}: {', '.join(map(_name, group))}" for title, group in titles)
        items.append(f"**{what}.** {reason or 'The reason is not known.'}")
    return items


def _name(figure: Figure) -> str:
    """Return the name of a figure, with the floor of this design."""
    if figure.floor is None:
        return figure.figure
    return f"{figure.figure} (the floor of this design: {_format_number(figure.floor)})"


def _format_value(figure: Figure) -> str:
    if figure.value is None:
        return "not measured"
    value = _format_number(figure.value)
    if figure.lowest == figure.highest or figure.lowest is None or figure.highest is None:
        return value
    return f"{value} ({_format_number(figure.lowest)} to {_format_number(figure.highest)})"


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"  # noqa: PLR2004


def _list_items(heading: str, items: Sequence[str]) -> list[str]:
    return ["", heading, "", *(f"- {item}" for item in items)] if items else []


def build_chart(costs: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the CPU time of each contender as a multiple of ours.

    The bars of a case are in proportion to the time. Cases without another contender are left out. The chart
    is 400 pixels wide and has the colors of the reader's light or dark mode.
    """
    title = "CPU time, as a multiple of ours"
    parts, top = [f'<text x="8" y="20" class="case">{title} (shorter is better)</text>'], 52
    for case, ratios in costs.items():
        if len(ratios) < 2:  # noqa: PLR2004 (ours and another)
            continue
        for line in wrap(case, _TITLE_LETTERS):
            parts.append(f'<text x="8" y="{top}" class="case">{escape(line)}</text>')
            top += _LINE
        longest = max(ratios.values())
        for name, ratio in ratios.items():
            width = max(ratio / longest * _BARS, 1)
            kind = _CLASSES.get(name, "other")
            parts += [
                f'<text x="{_LABELS - 6}" y="{top}" class="label">{escape(name)}</text>',
                f'<rect x="{_LABELS}" y="{top - 11}" width="{width:.1f}" height="13" class="{kind}"/>',
                f'<text x="{_LABELS + 6 + width:.0f}" y="{top}">{_format_number(ratio)}</text>',
            ]
            top += _LINE
        top += _LINE
    size = f'width="{_WIDTH}" height="{top}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_WIDTH} {top}" role="img"'
        f' aria-label="{title}"><style>{_STYLE}</style>'
        f'<rect {size} class="page"/>{"".join(parts)}</svg>\n'
    )
