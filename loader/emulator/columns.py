"""What a plan may say of Ozari's tables and columns, and the tables that are always there.

A column may be as unkind as a real one: it cuts, changes case, pads, wants a number, or moves by itself. `ozari.stored` says what
each of these makes of a value. Nothing here acts.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Length: TypeAlias = Annotated[int, Meta(ge=1)]


class OzariField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column of a table. `is_visible` is the form flag that Get Fields filters by ([D] OZ-fields).

    Lengths are in characters. What a column makes of a value shows in the row alone: the answer repeats what was sent.
    """

    name: str
    label: str = ""
    order: int | None = None
    is_visible: bool = True
    is_unique: bool = False
    is_required: bool = False
    max_length: Length | None = None
    is_strict: bool = True
    """Whether a value that does not fit is refused. Else it is made to fit in silence, as MySQL does with `sql_mode=''`:
    text is cut to max_length, what is no number becomes 0, what is no date becomes 0000-00-00."""
    type: Literal["any", "integer", "decimal", "date"] = "any"
    """integer rounds 1234.50 to 1235; decimal keeps two digits, as text; date writes 2026-1-5 as 2026-01-05."""
    stored_case: Literal["kept", "upper", "lower"] = "kept"
    """upper or lower: what a trigger makes of the text on its way in."""
    blanks: Literal["kept", "trimmed", "padded"] = "kept"
    """Blanks at the end: trimmed as CHAR in MySQL does, or padded up to max_length as CHAR in PostgreSQL does."""
    on_change: Literal["kept", "time", "count"] = "kept"
    """What each change of the row does to a column that it does not name: the time of the change, or one more.
    flastmodify is always such a time."""

    def __post_init__(self) -> None:
        if self.blanks == "padded" and self.max_length is None:
            message = "a column that pads with blanks needs max_length: so far it pads"
            raise ValueError(message)


class OzariTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table. `is_closed`: credential tables answer the query endpoint with 403 ([D] OZ-query)."""

    label: str = ""
    labels: dict[str, str] = {}
    fields: tuple[OzariField, ...] = ()
    is_closed: bool = False


def _fields(*names: str, hidden: tuple[str, ...] = ("fstamp",)) -> tuple[OzariField, ...]:
    shown = tuple(OzariField(name=name, label=name) for name in names)
    return shown + tuple(OzariField(name=name, is_visible=False) for name in hidden)


DEFAULT_TABLES = {
    "tcust": OzariTable(label="Customers", fields=_fields("fname", "fcity", "fphone", "femail", "fda", "fnote")),
    "tcity": OzariTable(label="Cities", fields=_fields("name", "lat", "lng", "country", "admin1", "admin2")),
    "tparts": OzariTable(label="Parts", fields=_fields("fpart", "fname", "fprice", "fqty")),
    "tpostal": OzariTable(
        label="Postal codes",
        fields=_fields("jisx0402", "postal_code", "prefecture", "city", "neighborhood", "note"),
    ),
}
