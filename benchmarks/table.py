"""The results of benchmarks as a Markdown table and as an SVG chart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from statistics import median

from benchmarks.cases import Case, Target

_LABELS, _BARS, _LINE = 148, 360, 18
_SMALLEST = 0.1
"""The shortest bar of the chart."""

_COLORS = {"ours": "#2563eb", "floor": "#16a34a", "a trivial asset": "#16a34a"}


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
        load: The load average before the case.
        reason: Why the target is missed.
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
    load: float
    reason: str = ""

    @classmethod
    def from_values(
        cls, case: Case, target: Target, values: Sequence[float], load: float, floors: Sequence[float] = ()
    ) -> "Figure":
        """Compute the figure of a target from the values of all rounds, and those of its floor."""
        value = median(values) if values else None
        is_met = None if value is None else target.is_met(value)
        floor = f" The floor of this design was {_format_number(median(floors))}." if floors else ""
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
            "" if is_met else f"{target.reason}{floor}",
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
            f"{figure.load:.1f}" if is_first else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    measured = [figure for figure in figures if figure.is_met is not None]
    met = sum(bool(figure.is_met) for figure in measured)
    lines += ["", f"{met} of {len(measured)} targets are met. Measured in one run: {note}."]
    lines += _list_items(
        "Missed targets:",
        [
            f"{figure.title}: {figure.figure}. {figure.reason or 'The reason is not known.'}"
            for figure in measured
            if not figure.is_met
        ],
    )
    lines += _list_items("Not measured:", [problem.splitlines()[0] for problem in problems])
    return "\n".join(lines)


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
    """Draw the CPU time of each contender as a multiple of ours, on a logarithmic scale.

    Cases without another contender are left out.
    """
    cases = {title: ratios for title, ratios in costs.items() if len(ratios) > 1}
    longest = max((ratio for ratios in cases.values() for ratio in ratios.values()), default=10.0)
    parts, top = list[str](), 40
    for title, ratios in cases.items():
        parts.append(f'<text x="8" y="{top}" font-weight="bold">{escape(title)}</text>')
        for name, ratio in ratios.items():
            top += _LINE
            width = _scale(ratio) / _scale(longest) * _BARS
            color = _COLORS.get(name, "#9ca3af")
            parts.append(f'<text x="{_LABELS - 8}" y="{top}" text-anchor="end">{escape(name)}</text>')
            parts.append(
                f'<rect x="{_LABELS}" y="{top - 11}" width="{width:.1f}" height="12" fill="{color}"/>'
            )
            parts.append(f'<text x="{_LABELS + 6 + width:.0f}" y="{top}">{ratio:.3g}</text>')
        top += _LINE + 10
    title = "CPU time, as a multiple of ours (logarithmic; shorter is better)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 {top}" role="img" aria-label="{title}"'
        ' font-family="sans-serif" font-size="12">'
        f'<rect width="600" height="{top}" fill="white"/>'
        f'<text x="8" y="16">{title}</text>{"".join(parts)}</svg>\n'
    )


def _scale(ratio: float) -> float:
    return max(log10(ratio / _SMALLEST), 0.01)
