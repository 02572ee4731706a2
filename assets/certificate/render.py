"""A certificate as one HTML file without scripts, or as Markdown."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from assets.certificate.documents import CertificateHeader
from assets.certificate.expectation import EXPECTATION_MEANING, PREFIX_MEANING, UNKNOWN_MEANINGS
from assets.certificate.statements import REASON_MEANINGS
from assets.certificate.summary import (
    CLASS_MEANINGS,
    CertificateSummary,
    DayClass,
    Range,
    SchedulerSummary,
    count_totals,
    format_span,
    list_runs,
)
from assets.health.slots import REASONS
from assets.report.formatting import clean_text, escape_line, pluralize

MAX_GAPS_HTML, MAX_GAPS_MARKDOWN = 5_000, 200
"""Gaps, and periods, in a document for people; the JSON certificate has all of them."""

_TEMPLATES = Path(__file__).with_name("templates")
_CLASS_NAMES = {
    DayClass.complete: "complete",
    DayClass.none_proven: "none",
    DayClass.partly_known: "partly",
    DayClass.not_known: "unknown",
    DayClass.expectation_not_known: "open",
}


@dataclass(frozen=True)
class CertificatePage:
    """What a document for people shows.

    Attributes:
        header: the selection, versions and settings.
        summary: the totals.
        digest: the digest of the days; None without days.
        lake: the location of the lake.
        created_at: when the certificate was written.
    """

    header: CertificateHeader
    summary: CertificateSummary
    digest: str | None
    lake: str
    created_at: str

    @property
    def title(self) -> str:
        """The range of days."""
        return f"Completeness certificate, {format_span(self.header.first, self.header.last)}"

    @property
    def verdict(self) -> str:
        """What is known of the expected executions, and of what is expected."""
        periods = self.summary.totals["periods_not_known"]
        if not periods:
            return self._judge_expected()
        which = "one further period" if periods == 1 else f"{periods:,} further periods"
        return f"{self._judge_expected()} In {which}, the expected executions cannot be known."

    def _judge_expected(self) -> str:
        totals = self.summary.totals
        if not totals["expected"]:
            return "No execution was expected in these days, as far as the lake knows."
        if totals["not_known"]:
            return (
                f"{totals['not_known']:,} of {totals['expected']:,} expected executions are not known:"
                " they are not recorded, and nothing proves that they did not exist."
            )
        if totals["recorded"] != totals["with_outcome"]:
            count = totals["recorded"] - totals["with_outcome"]
            return (
                f"All expected executions are accounted for; {count:,} are recorded without a final outcome."
            )
        return (
            "All expected executions are accounted for: recorded with their outcome, or proven not to exist."
        )

    @property
    def expectation(self) -> str:
        """When an execution is expected, and what a scheduler of a bucket is."""
        return f"{EXPECTATION_MEANING} {PREFIX_MEANING}"

    def list_reasons(self) -> list[tuple[str, int, str]]:
        """Return reason, slots and meaning, also of reasons without slots."""
        reasons = self.summary.reasons
        return [(reason, reasons[reason], REASON_MEANINGS[reason]) for reason in REASONS]

    def list_forgotten(self) -> list[str]:
        """Describe each use of `ledger forget`."""
        return [
            f"{operation['selection']} ({operation['state']}, {operation['started_at']},"
            f" {operation['executions_removed']:,} executions removed, {operation['id']})"
            for operation in self.header.forgotten
        ]

    def describe_incomplete_files(self) -> str:
        """Describe the saved responses that were not read completely; empty: none is known."""
        files = self.header.incomplete_files
        if not files:
            return ""
        count = f"{len(files):,} saved {pluralize(len(files), 'response')} not read completely"
        first = f"{files[0].uri}: {files[0].error}"
        more = "the JSON certificate lists all, the first is " if len(files) > 1 else ""
        return f"{count}, which can contain executions of any day: {more}{first}"

    def list_ticks(self) -> list[tuple[int, str]]:
        """Return position and label of the first day of each month, at most about a dozen."""
        days = [self.header.first + timedelta(number) for number in range(self.summary.days)]
        months = [(number, day) for number, day in enumerate(days) if day.day == 1 or number == 0]
        step = -(-len(months) // 12)
        return [(number, f"{day:%Y-%m-%d}") for number, day in months[::step]]


def render_html(page: CertificatePage) -> str:
    """Return the certificate as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=lambda value: clean_text(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_TEMPLATES / "certificate.css").read_text("utf-8")
    gaps, labels = page.summary.sort_gaps(), page.summary.build_labels()
    periods = page.summary.sort_unknown_ranges()
    html = environment.get_template("certificate.html.j2").render(
        page=page,
        totals=page.summary.totals,
        rows=[(labels[scheduler.arn], _draw_days(scheduler)) for scheduler in page.summary.list_schedulers()],
        classes=[(_CLASS_NAMES[day_class], CLASS_MEANINGS[day_class]) for day_class in _CLASS_NAMES],
        gaps=_label(labels, gaps[:MAX_GAPS_HTML]),
        more_gaps=max(len(gaps) - MAX_GAPS_HTML, 0),
        periods=_label(labels, periods[:MAX_GAPS_HTML]),
        more_periods=max(len(periods) - MAX_GAPS_HTML, 0),
        unknown_meanings=UNKNOWN_MEANINGS,
        style=style,
        style_hash="sha256-" + b64encode(sha256(style.encode()).digest()).decode(),
    )
    return html.strip() + "\n"


def render_markdown(page: CertificatePage) -> str:
    """Return the certificate as Markdown."""
    summary, header = page.summary, page.header
    totals, incomplete = summary.totals, page.describe_incomplete_files()
    lines = [
        f"# {page.title}",
        "",
        page.verdict,
        "",
        f"- Lake: {escape_line(page.lake)}",
        f"- Schedulers: {len(summary.schedulers):,}{_describe_patterns(header.patterns)}",
        f"- Days: {summary.days:,}, recorded: {summary.recorded_days:,}; files: {summary.files:,}",
        f"- Due until: {header.as_of:%Y-%m-%d %H:%M} UTC",
        f"- Digest of the days: `{page.digest}`",
        f"- Created: {page.created_at}",
        *(f"- Forgotten: {escape_line(text)}" for text in page.list_forgotten()),
        *([f"- Incomplete: {escape_line(incomplete)}"] if incomplete else []),
        "",
        "| scheduler | expected | with outcome | proven absent | not known |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    labels = summary.build_labels()
    for scheduler in summary.list_schedulers():
        own = count_totals(scheduler.reasons)
        lines.append(
            f"| {escape_line(labels[scheduler.arn])} | {own['expected']:,} | {own['with_outcome']:,}"
            f" | {own['proven_absent']:,} | {own['not_known']:,} |"
        )
    lines += ["", f"## Gaps ({totals['gaps']:,})", ""]
    gaps = summary.sort_gaps()
    if gaps:
        lines += ["| scheduler | from | to | slots | reason |", "| --- | --- | --- | ---: | --- |"]
    lines += [
        f"| {escape_line(label)} | {gap.start} | {gap.end} | {gap.slots:,} | {gap.reason} |"
        for label, gap in _label(labels, gaps[:MAX_GAPS_MARKDOWN])
    ]
    if len(gaps) > MAX_GAPS_MARKDOWN:
        lines += ["", f"{len(gaps) - MAX_GAPS_MARKDOWN:,} more; the JSON certificate lists all."]
    lines += [*_list_periods(page, labels), "", "## Definitions", "", page.expectation, ""]
    lines += [f"- `{reason}` ({count:,}): {meaning}" for reason, count, meaning in page.list_reasons()]
    return "\n".join(lines) + "\n"


def _list_periods(page: CertificatePage, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines about the periods in which the expected executions are not known."""
    periods = page.summary.sort_unknown_ranges()
    yield from ("", f"## Periods whose expected executions are not known ({len(periods):,})", "")
    if periods:
        yield from ("| scheduler | from | to | reason |", "| --- | --- | --- | --- |")
    for label, period in _label(labels, periods[:MAX_GAPS_MARKDOWN]):
        yield f"| {escape_line(label)} | {period.start} | {period.end} | {UNKNOWN_MEANINGS[period.reason]} |"
    if len(periods) > MAX_GAPS_MARKDOWN:
        yield from ("", f"{len(periods) - MAX_GAPS_MARKDOWN:,} more; the JSON certificate lists all.")


def _label(labels: Mapping[str, str], ranges: Sequence[Range]) -> list[tuple[str, Range]]:
    return [(labels[item.arn], item) for item in ranges]


def _draw_days(scheduler: SchedulerSummary) -> list[tuple[str, str, str]]:
    """Return one path for each class: its name, its data and its days as a number."""
    paths: dict[DayClass, list[str]] = {day_class: [] for day_class in _CLASS_NAMES}
    days = dict.fromkeys(_CLASS_NAMES, 0)
    for first, length, day_class in list_runs(scheduler.classes):
        if day_class in paths:
            paths[day_class].append(f"M{first} 0h{length}v1h-{length}z")
            days[day_class] += length
    return [
        (_CLASS_NAMES[day_class], "".join(parts), f"{days[day_class]:,}")
        for day_class, parts in paths.items()
        if parts
    ]


def _describe_patterns(patterns: Sequence[str]) -> str:
    return f" ({escape_line(', '.join(patterns))})" if patterns else ""
