"""Writes a certificate as JSON, one day per line, while its statements are built."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, TextIO

from assets.certificate.evidence import IncompleteFile
from assets.certificate.expectation import EXPECTATION_MEANING, PREFIX_MEANING, UNKNOWN_MEANINGS
from assets.certificate.statements import (
    CERTIFICATE_PREDICATE,
    REASON_MEANINGS,
    STATEMENT_TYPE,
    Statement,
    build_subject,
)
from assets.certificate.summary import CertificateSummary
from assets.certificate.verifier import compute_seal


@dataclass(frozen=True)
class CertificateHeader:
    """What a certificate depends on besides the files of the lake.

    Attributes:
        first: the first day.
        last: the last day.
        patterns: the selected schedulers; empty: all.
        as_of: slots that were due later are not expected.
        versions: the version of the product and of each sealed table.
        settings: the settings that change what is expected.
        forgotten: each use of `ledger forget`, the oldest first.
        incomplete_files: the saved responses that were not read completely; they can contain executions of
            any day.
    """

    first: date
    last: date
    patterns: tuple[str, ...]
    as_of: datetime
    versions: Mapping[str, Any]
    settings: Mapping[str, Any]
    forgotten: Sequence[Mapping[str, Any]] = ()
    incomplete_files: Sequence[IncompleteFile] = ()

    def describe(self) -> dict[str, Any]:
        """Return the header as JSON values."""
        return {
            "from": self.first.isoformat(),
            "to": self.last.isoformat(),
            "schedulers_selected": list(self.patterns),
            "as_of": self.as_of.isoformat(timespec="seconds"),
            "versions": dict(self.versions),
            "settings": dict(self.settings),
            "forgotten": [dict(operation) for operation in self.forgotten],
            "incomplete_files": [asdict(file) for file in self.incomplete_files],
            "definitions": {
                **REASON_MEANINGS,
                "expected": EXPECTATION_MEANING,
                "output_prefix": PREFIX_MEANING,
                "expectation_not_known": UNKNOWN_MEANINGS,
            },
        }


class JsonCertificate:
    """A JSON certificate that is written day by day; `file` must be empty."""

    def __init__(self, file: TextIO, header: CertificateHeader) -> None:
        """Write the beginning of the document."""
        self._file, self._header = file, header
        self._digests: list[str] = []
        file.write(f'{{"_type":{_dump(STATEMENT_TYPE)},\n"predicateType":{_dump(CERTIFICATE_PREDICATE)},\n')
        file.write('"predicate":{\n')
        file.writelines(f"{_dump(key)}:{_dump(value)},\n" for key, value in header.describe().items())
        file.write('"days":[')

    def add(self, statement: Statement, digest: str) -> None:
        """Write the statement of the next day in one line."""
        self._file.write(f"{',' if self._digests else ''}\n{_dump(statement)}")
        self._digests.append(digest)

    def finish(
        self, summary: CertificateSummary, other_files: Mapping[str, str], generated: Mapping[str, str]
    ) -> None:
        """Write the totals, the sealed line and the files that are not of a day.

        Args:
            summary: the totals.
            other_files: the SHA-256 of each file that is not of a day, by its path in the lake.
            generated: when and from which lake; the only line that differs between equal certificates.
        """
        subject = build_certificate_subject(self._digests[-1] if self._digests else None, other_files)
        totals = summary.describe()
        certificate = {
            "_type": STATEMENT_TYPE,
            "predicateType": CERTIFICATE_PREDICATE,
            "subject": subject,
            "predicate": {**self._header.describe(), **totals, "generated": dict(generated)},
        }
        seal = compute_seal(certificate, self._digests)
        self._file.write("\n],\n")
        for key, value in totals.items():
            self._file.write(f"{_dump(key)}:{_dump(value)},\n")
        self._file.write(
            f'"generated":{_dump({**generated, "seal": seal})}\n}},\n"subject":{_dump(subject)}}}\n'
        )


def build_certificate_subject(digest: str | None, other_files: Mapping[str, str]) -> list[dict[str, Any]]:
    """Build the subject of a certificate: the chain of days, then the files that are not of a day."""
    return [build_subject("days", digest), *(build_subject(*file) for file in sorted(other_files.items()))]


def _dump(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
