"""A report page as a tree of elements, its numbers, and their format as documented for readers."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from html.parser import HTMLParser
from typing import Any, Self

_VOID = {"meta", "br", "link"}


@dataclass
class Element:
    """An element with its attributes; text is a child of type str."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text with single spaces, without style sheets."""
        return re.sub(r"[ \n]+", " ", self._join()).strip()

    def find_all(self, tag: str = "", css_class: str = "", identifier: str = "") -> Iterator["Element"]:
        """Yield the descendants in the order of the document."""
        for child in self.children:
            if isinstance(child, Element):
                classes = child.attributes.get("class", "").split()
                if (
                    (not tag or child.tag == tag)
                    and (not css_class or css_class in classes)
                    and (not identifier or child.attributes.get("id") == identifier)
                ):
                    yield child
                yield from child.find_all(tag, css_class, identifier)

    def find(self, tag: str = "", css_class: str = "", identifier: str = "") -> "Element":
        """Return the first such descendant."""
        return next(self.find_all(tag, css_class, identifier))

    def list_cells(self) -> list["Cell"]:
        """Return the numbers of the element."""
        return [Cell.read(link) for link in self.find_all("a", "n")]

    def _join(self) -> str:
        if self.tag == "style":
            return ""
        text = "".join(child if isinstance(child, str) else child._join() for child in self.children)
        return (
            f" {text} " if self.tag in {"p", "li", "tr", "td", "th", "dt", "dd", "div", "h2", "h3"} else text
        )


@dataclass(frozen=True)
class Cell:
    """A number of the page: the query and the row (from 1) and column of its result."""

    query: str
    row: int
    column: str
    text: str

    @classmethod
    def read(cls, link: Element) -> Self:
        row, column = link.attributes["data-cell"].split()
        return cls(link.attributes["href"].removeprefix("#sql-"), int(row), column, link.text)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.stack = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.stack.append(self.stack[-1].children[-1])  # type: ignore[arg-type]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


def parse_page(html: str) -> Element:
    """Return the page as a tree."""
    builder = _Builder()
    builder.feed(html)
    (root,) = builder.stack
    return root


def print_number(value: Any, column: str) -> str:
    """Print a value as the page does; narrow spaces are spaces."""
    if value is None:
        return "–"
    if isinstance(value, date):
        time = f" {value:%H:%M}" if isinstance(value, datetime) else ""
        return f"{value:%a} {value.day} {value:%b}{time}"
    for word, print_value in _PRINTED.items():
        if word in column:
            return print_value(value)
    return f"{value:,}"


def _print_share(share: float) -> str:
    if share in {0, 1}:
        return f"{share:.0%}".replace("%", " %")
    return "< 0.1 %" if share < 0.001 else f"{math.floor(share * 1000 + 1e-9) / 10:.1f} %"


def _print_minutes(minutes: float) -> str:
    minutes = round(minutes)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 1440:
        large, small, units = *divmod(minutes, 60), ("h", "min")
    else:
        large, small, units = *divmod(round(minutes / 60), 24), ("d", "h")
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")


_PRINTED: dict[str, Callable[[Any], str]] = {
    "share": _print_share,
    "contribution": _print_share,
    "minutes": _print_minutes,
    "seconds": lambda seconds: _print_minutes(seconds / 60),
    "score": "{:.2f}".format,
    "model_version": "v{}".format,
}
"""The format of a value by a word of its column."""
