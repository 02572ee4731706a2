"""Verify a completeness certificate of lookout-ledger offline, with the Python standard library alone.

    python verify_certificate.py CERTIFICATE.json [LAKE] [--digest SHA256]

The certificate is an in-toto statement. Its predicate holds one statement per day, and each day names the
SHA-256 digest of the day before. The seal covers everything. So a changed, added, reordered or deleted day
is found. With LAKE, a local folder or a copy of it, every file is compared with its digest. With --digest,
the digest of the days is compared with one that you kept elsewhere: only that finds a certificate that
was written again as a whole. Exit code 0: everything agrees; 1: each line names a difference.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def compute_digest(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Return the SHA-256 of the canonical JSON of a value: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def compute_seal(certificate: dict[str, Any], day_digests: list[str]) -> str:
    """Return the digest of a certificate without its seal, with each day replaced by its digest."""
    predicate = dict(certificate["predicate"])
    predicate["generated"] = {key: value for key, value in predicate["generated"].items() if key != "seal"}
    return compute_digest({**certificate, "predicate": {**predicate, "days": day_digests}})


def find_broken_seals(certificate: dict[str, Any]) -> Iterator[str]:
    """Yield what differs within a certificate."""
    digests, previous, last_date = [], None, ""
    for number, day in enumerate(certificate["predicate"]["days"]):
        date = str(day["predicate"]["date"])
        if day["predicate"]["previous"] != previous:
            yield f"{date}: this statement, or the one before it, was changed, moved or removed"
        if date <= last_date:
            yield f"{date}: statement {number + 1} is not in the order of the days"
        previous, last_date = compute_digest(day), date
        digests.append(previous)
    if get_digest(certificate) != previous:
        yield "the digest of the days differs: the last statement was changed or removed"
    if certificate["predicate"]["generated"]["seal"] != compute_seal(certificate, digests):
        yield "the seal differs: the certificate was changed after it was written"


def get_digest(certificate: dict[str, Any]) -> Any:  # noqa: ANN401 (None without days)
    """Return the digest of the last day, which covers all days before it."""
    return certificate["subject"][0]["digest"]["sha256"]


def list_files(certificate: dict[str, Any]) -> dict[str, str]:
    """Return the digest of each file of the lake by its path."""
    subjects = list(certificate["subject"][1:])
    for day in certificate["predicate"]["days"]:
        subjects.extend(day["subject"])
    return {subject["name"]: subject["digest"]["sha256"] for subject in subjects}


def find_changed_files(certificate: dict[str, Any], lake: Path) -> Iterator[str]:
    """Yield the files of a lake that differ from the certificate, within its days and tables."""
    expected = list_files(certificate)
    for name, digest in sorted(expected.items()):
        path = lake / name
        if not path.is_file():
            yield f"{name}: the file is missing"
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                yield f"{name}: the content of the file changed"
    first, last = certificate["predicate"]["from"], certificate["predicate"]["to"]
    for table in certificate["predicate"]["versions"]["tables"]:
        for path in sorted((lake / table).glob("**/*.parquet")):
            name = path.relative_to(lake).as_posix()
            day = name.partition("data_date=")[2][:10]
            if name not in expected and (not day or first <= day <= last):
                yield f"{name}: the file was added"


def find_problems(path: Path, lake: Path | None, digest: str | None = None) -> Iterator[str]:
    """Yield every difference."""
    if not path.is_file():
        yield f"{path} is not a file"
        return
    try:
        certificate = json.loads(path.read_bytes())
        broken = list(find_broken_seals(certificate))
        changed = list(find_changed_files(certificate, lake)) if lake else []
        if digest and get_digest(certificate) != digest:
            yield "the digest of the days is not the one that you kept"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        yield f"{path} is not a certificate: {error!r}"
        return
    yield from broken
    yield from changed


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("certificate", type=Path, help="the certificate, a JSON file")
    parser.add_argument("lake", type=Path, nargs="?", help="the folder of the lake, or of a copy")
    parser.add_argument("--digest", help="the digest of the days, as you kept it elsewhere")
    options = parser.parse_args()
    problems = list(find_problems(options.certificate, options.lake, options.digest))
    scope = "the certificate and the lake agree" if options.lake else "the certificate is intact"
    sys.stdout.write("\n".join(problems or [f"verified: {scope}"]) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
