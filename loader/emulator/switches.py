"""Every undocumented fact of both APIs as a setting, with the value the emulator takes when nobody says otherwise.

One member a fact; apis.md part 6 is the list. Nothing here acts: `ozari*`, `canbus*` and `limits` read these values. An unknown
member is refused when a plan is read. Times are in seconds, sizes in bytes unless the name says otherwise.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from loader.emulator.columns import OzariTable

Positive: TypeAlias = Annotated[float, Meta(gt=0)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Status: TypeAlias = Annotated[int, Meta(ge=200, le=599)]
Check: TypeAlias = Literal["auth", "table_name", "body", "fields", "primary_key", "table"]
CHECKS: tuple[Check, ...] = ("auth", "table_name", "body", "fields", "primary_key", "table")
Fold: TypeAlias = Literal["case", "accents", "width", "kana", "blanks"]
ItemType: TypeAlias = Literal[
    "Text", "Number", "RichText", "Date", "Time", "DateTime", "Radio", "Pulldown", "Checkbox",
    "Table", "AppLink", "Attachment", "User", "Organization",
]  # fmt: skip


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An access limit. Neither vendor gives a number, a window or a header (apis.md 1.1 and 2.1, [N]).

    `per_second` or `per_minute`, exactly one. `window` and `sliding` admit a window's worth; `bucket` holds `burst` tokens;
    `leaky` queues up to `burst` requests and answers them late. `rejects_count`: a refused request counts as one too.
    """

    kind: Literal["window", "sliding", "bucket", "leaky"] = "window"
    per_second: Positive | None = None
    per_minute: Positive | None = None
    burst: Count | None = None
    status: Literal[403, 429, 500, 503, "close"] = 429
    """What a refused request gets; "close": the connection ends without an answer."""
    page: Literal["api", "nginx", "haproxy", "varnish", "apache"] = "api"
    """Whose body the refusal has: the API's own, or the stock page of a gateway in front of it."""
    retry_after: Literal["none", "exact", "rounded_up", "http_date", "fixed"] = "rounded_up"
    retry_after_seconds: float = 86400.0
    rejects_count: bool = False
    headers: Literal["none", "x", "separate", "fields", "policy"] = "none"
    """Limit headers on every answer: X-RateLimit-*, RateLimit-*, RateLimit with named parts, or the latest draft."""
    reset: Literal["seconds", "time_of_day"] = "seconds"
    """What Reset is: seconds from now, or (with a Date beside it) the second since 1970, rounded up."""
    scope: Literal["table", "tenant", "ip"] = "tenant"

    def __post_init__(self) -> None:
        if (self.per_second is None) == (self.per_minute is None):
            message = "a rate limit needs exactly one of per_second and per_minute"
            raise ValueError(message)

    @property
    def window_seconds(self) -> float:
        """Return the length of the window: the unit that the rate is given in, or longer if the rate is below one."""
        unit = 1.0 if self.per_second is not None else 60.0
        return max(unit, 1.0 / self.rate_per_second)

    @property
    def rate_per_second(self) -> float:
        """The sustained rate."""
        return self.per_second if self.per_second is not None else (self.per_minute or 0.0) / 60.0


class OzariSwitches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The undocumented facts of Ozari (apis.md 1.1 to 1.6, part 5, part 6)."""

    token: str = "emulator-token"  # noqa: S105 - not a secret: the emulator's own, and plainly so
    company: str = "emulator"
    languages: tuple[str, ...] = ("he", "en")
    tables: dict[str, OzariTable] = {}
    """Added to the four that are always there (tcust, tcity, tparts, tpostal), or in place of one of them."""
    any_table: bool = False
    unknown_column: Literal["accept", "500"] = "accept"
    bad_data: Literal["500", "400", "accept"] = "500"
    """Too long a value, a missing required one, one that is there already in a unique column. "accept" writes it."""
    nested_value: Literal["accept", "500", "400"] = "accept"
    inserted_id: Literal["number", "null"] = "number"
    insert_status: Literal[200, 201] = 201
    echo: Literal["as_sent", "trim", "text", "blank_null"] = "as_sent"
    query: Literal["on", "off_json", "off_html"] = "on"
    per_page_over: Literal["refuse", "clamp"] = "refuse"
    page_under: Literal["refuse", "clamp"] = "refuse"
    query_unknown_column: Literal["accept", "400", "500"] = "accept"
    """accept: a column that nothing was written to yet is there all the same, and null in every row."""
    null_equals: bool = False
    """Whether `eq null` finds the rows that hold null; in SQL nothing equals null."""
    unsorted_order: Literal["id", "reversed", "random"] = "id"
    collation: Literal["exact", "loose"] = "exact"
    """loose: strings are equal without regard to case and trailing spaces. The same as folds = ["case", "blanks"]."""
    folds: tuple[Fold, ...] = ()
    """What strings are equal without regard to, in filters, in queries and in unique columns (`ozari.folds`)."""
    number_compare: Literal["forms", "leading"] = "forms"
    """How a number compares with text: by its usual text, or ("leading", as MySQL) with the number that the text begins
    with, so that 1547 finds '1547abc' and 0 finds every text without a number."""
    touch_unchanged: bool = False
    """Whether a PATCH that changes no value still counts as updated and moves flastmodify."""
    updated_count: Literal["changed", "matched"] = "changed"
    """What `updated` counts: the rows that changed ([D] OZ-upd), or those that matched, so that it is never 0."""
    read_delay_seconds: NotNegative = 0.0
    """How long a new row stays invisible to the query endpoint."""
    update_delay_seconds: NotNegative = 0.0
    """How long the query endpoint shows a row as it was before an update, and finds it by its old values."""
    commit_after_disconnect: bool = True
    check_order: tuple[Check, ...] = CHECKS
    max_body_bytes: Count | None = None
    malformed_status: Literal[400, 500] = 400
    rate_limit: RateLimit | None = None

    @property
    def compared_without(self) -> tuple[Fold, ...]:
        """What strings are equal without regard to, by `folds` or `collation`."""
        return self.folds or (("case", "blanks") if self.collation == "loose" else ())

    def __post_init__(self) -> None:
        if sorted(self.check_order) != sorted(CHECKS):
            message = f"check_order must name each of {', '.join(CHECKS)} once"
            raise ValueError(message)


class CanbusItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form item with its rules. `ceiling` is the largest number a maximum may be (code 7018); `pattern` must match whole."""

    type: ItemType = "Text"
    name: str = ""
    is_required: bool = False
    is_unique: bool = False
    minimum: float | None = None
    maximum: float | None = None
    ceiling: float | None = None
    pattern: str | None = None
    default: str | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            _check_pattern(self.pattern)


class CanbusFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter saved in the list screen: every condition is an equal value; `sort` is an item, newest first if None.

    `items`: what its rows show beside their id, all if empty ([N] whether a list shows every item).
    """

    conditions: dict[str, str] = {}
    items: tuple[str, ...] = ()
    sort: str | None = None
    is_descending: bool = True


class ExtraCode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A result code nobody documented: given to elements whose item matches the pattern."""

    code: str
    item: str
    pattern: str

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)


class CanbusApp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table with its set of credentials ([D] CB-ovw: issued per table). Its rows stand in a table of the same name."""

    app_id: str = "emulator-app"
    api_key: str = "emulator-key"
    api_secret: str = "emulator-secret"  # noqa: S105 - not a secret: the emulator's own, and plainly so
    items: dict[str, CanbusItem] = {}
    filters: dict[str, CanbusFilter] = {}
    default_filter: str | None = None
    is_ip_refused: bool = False


class CanbusSwitches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The undocumented facts of Canbus (apis.md 2.1 to 2.9, part 5, part 6)."""

    tenant_id: str = "emulator"
    apps: tuple[CanbusApp, ...] = (CanbusApp(),)
    users: tuple[str, ...] = ("loader", "admin")
    any_user: bool = False
    missing_user_code: str = "7013"
    wrong_key_status: Literal[400, 401] = 401
    is_atomic: bool = False
    neighbour_code: str = "1"
    """The answer for the good elements of a refused request, if it is atomic."""
    success_status: Literal[200, 201] = 201
    partial_failure_status: Status | None = None
    total_failure_status: Status | None = None
    """The answer if some or all elements fail. None: the same as if none does."""
    edit_status: Literal[200, 201] = 200
    delete_status: Literal[200, 201] = 200
    read_status: Literal[200, 201] = 200
    failed_id: Literal["absent", "null", "empty"] = "absent"
    result_order: Literal["kept", "reversed", "shuffled", "short", "long"] = "kept"
    max_records: Count = 1000
    over_max_status: Literal[400, 413] = 413
    max_megabytes: Count = 100
    megabyte_bytes: Literal[1000000, 1048576] = 1000000
    list_default: Count = 20
    list_max: Count = 1000
    list_ignores_start: bool = False
    """Whether every page is the first one: what a list does with a `start` that it does not understand is [N]."""
    list_over_max: Literal["clamp", "refuse"] = "clamp"
    unknown_item: Literal["accept", "ignore", "refuse"] = "accept"
    """accept: an item that the plan does not name is there all the same, as text, without rules."""
    unknown_item_code: str = "9001"
    json_numbers: bool = True
    """Whether a number item takes a JSON number; else code 7003."""
    number_digits: Count = 15
    """Digits before the point that a number item holds; more is code 7004."""
    blanks_collide: bool = False
    numbers_compare: Literal["text", "value"] = "text"
    """Whether "1" and "1.0" are the same value of a unique item."""
    sees_same_request: bool = True
    """Whether the unique check sees the elements before it in the same request."""
    datetime_pattern: str = r"\d{4}/\d{2}/\d{2} \d{2}:\d{2}(:\d{2})?"
    time_pattern: str = r"\d{2}:\d{2}(:\d{2})?"
    extra_codes: tuple[ExtraCode, ...] = ()
    not_found_code: str = "1001"
    error_body: Literal["json", "html"] = "json"
    """The body of 404 and 500, which have no `authen` (apis.md 2.2)."""
    error_message: str | None = None
    """A further member `message` of a body with `authen` NG."""
    commit_after_disconnect: bool = True
    read_delay_seconds: NotNegative = 0.0
    rate_limit: RateLimit | None = None

    def __post_init__(self) -> None:
        _check_pattern(self.datetime_pattern)
        _check_pattern(self.time_pattern)
        names = [app.app_id for app in self.apps]
        if not names or len(set(names)) != len(names):
            message = "apps must hold at least one app, and no app_id twice"
            raise ValueError(message)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"pattern {pattern!r} is no regular expression: {error}"
        raise ValueError(message) from error
