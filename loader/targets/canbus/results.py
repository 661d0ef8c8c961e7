"""What the entries of a Canbus answer mean, one per record.

Source: apis.md 2.3 for the codes. The newer edition of the page may list more ([U]), and which of several a target chooses
overlaps (part 5.11). So only four things are told apart here: 0, 7012, 32, and a code that is not listed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from loader.model import (
    Ambiguous,
    Chunk,
    Created,
    Halt,
    Outcome,
    RecordId,
    Rejected,
    Resend,
    Settled,
    Split,
    Unknown,
    Verdict,
)
from loader.redaction import Redactor

CREATED, DUPLICATE, BAD_USER = "0", "7012", "32"
"""[D] CB-add-old; DUPLICATE: a unique item has the value already."""
MEANINGS = {
    BAD_USER: "System_Create_User is unknown or disabled",
    "7001": "a number is under its minimum",
    "7002": "a number is over its maximum",
    "7003": "text stands where a number belongs",
    "7004": "a number is outside the allowed range",
    DUPLICATE: "a unique item has a value that another record has",
    "7013": "a required item is missing",
    "7014": "a text breaks the rule of permitted characters",
    "7018": "a number is beyond the largest that max allows",
    "7020": "a datetime has a wrong format",
    "7021": "a date has a wrong format",
    "7022": "a time has a wrong format",
    "7042": "a checkbox or sub-table is not an array, an app link has no item, or a required attachment is bad",
}
MAX_CODE_CHARACTERS = 20
SOMEBODYS = (
    "sent twice; the second time it was refused (7012): a record has its key, perhaps this one, perhaps an older one"
)
Doubt: TypeAlias = Literal["stamp", "key"] | None
"""By which unique value a record in doubt would be refused. A stamp is nobody else's; a key's value may be."""


def read_results(
    chunk: Chunk, results: list[Any], is_one_user: Callable[[Chunk], bool], redactor: Redactor, *, is_stamped: bool
) -> Verdict:
    """Read as many entries as the chunk has records, in the records' order. `is_stamped`: their unique value is a stamp."""
    codes = [_code_of(entry, redactor) for entry in results]
    ids = [_id_of(entry) for entry in results]
    given = [record_id for record_id in ids if record_id is not None]
    if len(set(given)) < len(given):
        return Unknown("the answer gives one id to two records", is_mismatch=True)
    if all(code == BAD_USER for code in codes) and is_one_user(chunk):
        return Halt(
            "credentials",
            "the target refuses every record for its user (code 32: System_Create_User is unknown or disabled)",
            "enable the user in Canbus and repeat the command; where nothing was created yet, another one's login id can be "
            "given with --user, in a new run (--run)",
        )
    is_refused = any(code in MEANINGS for code in codes)
    if not given and not is_refused and len(set(codes)) > 1 and not {CREATED, None} & set(codes):
        # Several codes that no page lists, and nothing created: one may be the culprit's and the others its neighbours'.
        return Split(codes[0] or "", "the target refuses the request with codes that are not documented")
    # An atomic target creates nothing when one record is at fault; then no entry has an id, whatever their codes.
    is_atomic = not given and any(code != CREATED for code in codes)
    doubt: Doubt = None if not chunk.in_doubt else "stamp" if is_stamped else "key"
    outcomes = [
        _read_one(code, record_id, doubt=doubt, is_refused=is_refused, is_atomic=is_atomic)
        for code, record_id in zip(codes, ids, strict=True)
    ]
    return Settled(tuple(_without_bad_id(outcome, redactor) for outcome in outcomes))


def _without_bad_id(outcome: Outcome | Resend, redactor: Redactor) -> Outcome | Resend:
    """Keep no id that is none: it goes to the log, to files and to terminals."""
    is_bad = isinstance(outcome, Created) and isinstance(outcome.id, str) and not redactor.is_clean(outcome.id)
    return Created(None) if is_bad else outcome


def _read_one(
    code: str | None, record_id: RecordId, *, doubt: Doubt, is_refused: bool, is_atomic: bool
) -> Outcome | Resend:
    """Read one entry. `doubt`: by which value the record may be there already.

    `is_refused`: some entry of the answer has a listed code of failure; `is_atomic`: see above.
    """
    if code is None:
        return Ambiguous("the answer's entry for this record cannot be read")
    if code == CREATED:
        is_sure = record_id is not None or not is_atomic
        return Created(record_id) if is_sure else Ambiguous("the record was reported as created, without an id")
    if code == DUPLICATE and doubt == "stamp":
        return Created(None)
    if code == DUPLICATE and doubt == "key":
        return Ambiguous(SOMEBODYS, is_final=True)
    if code == BAD_USER and doubt is not None:
        return Ambiguous("the user was refused before the record could be looked for")
    if code in MEANINGS:
        return Rejected("target", code, MEANINGS[code])
    if is_refused:
        return Resend(code, "another record of the request was refused")
    return Rejected("target", code, f"the target refuses the record with code {code}, which is not documented")


def _code_of(entry: Any, redactor: Redactor) -> str | None:
    """Return an entry's code as text ([D] a string; a number is tolerated); None if it has none."""
    code = entry.get("result") if isinstance(entry, dict) else None
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    if not isinstance(code, str) or not code.isascii() or not code.isalnum() or len(code) > MAX_CODE_CHARACTERS:
        return None
    return code if redactor.is_clean(code) else None


def _id_of(entry: Any) -> RecordId:
    """Return an entry's id; None if it is absent, null or empty ([N] which of the three a failed entry has)."""
    record_id = entry.get("id") if isinstance(entry, dict) else None
    if isinstance(record_id, str):
        return record_id or None
    return record_id if isinstance(record_id, int) and not isinstance(record_id, bool) and record_id > 0 else None
