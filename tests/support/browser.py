"""Chromium, and what a page did in it: requests, messages, accessibility violations."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 120_000
"""The time to wait for a condition on a busy machine."""

NARROW, WIDE = 390, 1440


def find_chromium() -> str:
    """Return the path of the browser that CHROMIUM names or the machine has; skip the test without one."""
    actual = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    return actual or pytest.skip(f"no browser: install one of {', '.join(PROGRAMS)}, or set CHROMIUM")


@contextmanager
def run_chromium() -> Iterator["Browser"]:
    """Run the browser; skip the test without a browser or without the extra `browser`."""
    program = find_chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@dataclass
class Recorder:
    """What a page did since it was opened."""

    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def attach(self, page: "Page") -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))
        page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: Any) -> None:
        self.messages.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def find_violations(page: "Page", *rules: str) -> list[str]:
    """Return the serious and critical violations of some or all of axe-core's rules, with the elements."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 (of the extra `browser`)

    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    response = Axe().run(page, options=options).response
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:200]}: {node['failureSummary'][:300]}"
        for violation in response["violations"]
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"][:3]
    ]
