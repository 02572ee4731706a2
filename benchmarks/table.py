"""The results of benchmarks as a Markdown table and as an SVG chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_LABELS, _BARS, _LINE = 380, 360, 18
_COLORS = {"ours": "#2563eb", "floor": "#16a34a", "a trivial asset": "#16a34a"}


@dataclass(frozen=True)
class Figure:
    """One measured figure with its target; `lowest` and `highest` of all rounds."""

    case: str
    title: str
    figure: str
    value: float
    lowest: float
    highest: float
    bound: float
    is_upper: bool
    is_met: bool


def build_table(figures: Sequence[Figure], note: str) -> str:
    """Build the table; `note` says where it was measured."""
    lines = ["| what | figure | measured | target | met |", "| --- | --- | ---: | ---: | --- |"]
    for figure in figures:
        spread = "" if figure.lowest == figure.highest else f" ({figure.lowest:.3g} to {figure.highest:.3g})"
        cells = (
            figure.title,
            figure.figure,
            f"{figure.value:.3g}{spread}",
            f"{'≤' if figure.is_upper else '≥'} {figure.bound:g}",
            "yes" if figure.is_met else "no",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Measured in one run: {note}."])


def build_chart(costs: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the CPU time of each contender as a multiple of ours; cases without a contender are left out."""
    cases = {title: ratios for title, ratios in costs.items() if len(ratios) > 1}
    longest = max((ratio for ratios in cases.values() for ratio in ratios.values()), default=1.0)
    parts, top = list[str](), 34
    for title, ratios in cases.items():
        parts.append(f'<text x="8" y="{top}" font-weight="bold">{escape(title)}</text>')
        for name, ratio in ratios.items():
            top += _LINE
            width = max(1.0, ratio / longest * _BARS)
            color = _COLORS.get(name, "#9ca3af")
            parts.append(f'<text x="{_LABELS - 240}" y="{top}" text-anchor="end">{escape(name)}</text>')
            parts.append(
                f'<rect x="{_LABELS - 232}" y="{top - 11}" width="{width:.1f}" height="12" fill="{color}"/>'
            )
            parts.append(f'<text x="{_LABELS - 226 + width:.0f}" y="{top}">{ratio:.1f}</text>')
        top += _LINE + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 {top}"'
        ' font-family="sans-serif" font-size="12">'
        f'<rect width="600" height="{top}" fill="white"/>'
        f'<text x="8" y="16">CPU time, as a multiple of ours</text>{"".join(parts)}</svg>\n'
    )
