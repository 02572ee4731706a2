"""What a question is."""

from collections.abc import Mapping
from dataclasses import dataclass

from assets.report.formatting import Kind


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: names it on the page.
        title: what it tells, in words.
        key: the column that tells the rows of the answer apart.
        kinds: how to write the other columns.
        sql: the statement, in DuckDB's SQL over the tables of the lake.
    """

    name: str
    title: str
    key: str
    kinds: Mapping[str, Kind]
    sql: str
