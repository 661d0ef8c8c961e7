"""What a world is like: the load, the options, the target and its faults, the weather, and what befalls the process.

All of it follows from the seed. The one bound that is kept: nothing that a request does in the target happens later than the
settle time after its connection was lost, for on that the promise rests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal, TypeAlias

from loader.checkpoint import Sizes
from loader.emulator import Plan, parse_plan
from loader.settings import (
    AmbiguousPolicy,
    CanbusAdd,
    CanbusCredentials,
    Credentials,
    Options,
    OzariCredentials,
    OzariInsert,
    OzariUpdate,
    Rate,
    RejectLimit,
    Secret,
    TargetSettings,
)
from tests.simulation.network import Outage, Weather

Kind: TypeAlias = Literal["insert", "update", "add"]
Naming: TypeAlias = Literal["one", "two", "spelt"]
"""How updates name a row: by its code, by its code or another column, or by its code in several spellings that are equal."""
Blow: TypeAlias = Literal["process", "power", "signal", "signals", "cancel", "cancels", "stall", "nap"]
"""A nap: the process is stopped while it drains after a signal, and goes on when all its timeouts are over."""

TABLE = "tcust"
APP = "emulator-app"
MOST_ROWS = 30
SMALL = Sizes(fold_lines=8, amended_lines=2, snapshot_bytes=400, rotate_bytes=4000, close_bytes=1500)
MALFORMED = ["status_line", "header", "two_lengths", "short_length", "chunk_size", "gzip", "not_json"]
REFUSING = {400, 409, 413, 422, 429, 503}
LATE_SHARE = 0.7
"""Of the settle time: the latest that a lost request takes effect. The way there and a lagging read take some of the rest."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls one execution, and when: at the n-th disk operation, at the n-th request, or at a time."""

    blow: Blow
    by: Literal["disk", "request", "time"]
    at: int
    seconds: float
    moment: float
    pause_seconds: float
    is_cut: bool = False
    appended: int = 0
    has_rival: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One world, before it begins."""

    seed: int
    kind: Kind
    target: TargetSettings
    credentials: Credentials
    options: Options
    plan: Plan
    weather: Weather
    lines: tuple[bytes, ...]
    markers: dict[int, str] = field(repr=False)
    """Line number -> the value that its record alone has; lines that are no records are not in it."""
    old_rows: tuple[dict[str, Any], ...]
    troubles: tuple[Trouble, ...]
    sizes: Sizes
    window_lines: int
    naming: Naming = "one"

    @property
    def is_exact(self) -> bool:
        """Say whether every doubt can be settled: there is something to ask by, and the answer proves both ways."""
        target = self.target
        if self.options.ambiguous == "hold":
            return False
        if isinstance(target, OzariInsert):
            return target.stamp is not None  # by key, a query that once made no sense leaves only the probe
        return isinstance(target, CanbusAdd) and target.is_unique and target.stamp is not None


def draw_case(seed: int) -> Case:
    """Draw a world."""
    draw = Random(f"case {seed}")
    kind: Kind = draw.choice(["insert", "insert", "update", "add"])
    count = draw.choice([draw.randint(1, 12), draw.randint(20, 60), draw.randint(20, 60), draw.randint(60, 160)])
    target, credentials = _target(kind, draw)
    settle = draw.choice([5.0, 10.0, 30.0])
    options = _options(kind, target, settle, count, draw)
    naming = _naming(target, Random(f"naming {seed}"))
    lines, markers = _lines(target, count, draw, naming)
    mean = draw.choice([0.001, 0.01, 0.05])
    is_calm = draw.random() < 0.15
    lag, columns = _unkindness(kind, target, options, Random(f"unkind {seed}"))
    weather = Weather(mean) if is_calm else _weather(mean, draw)
    troubles = [_trouble(kind, count, draw) for _ in range(draw.choice([0, 1, 1, 2, 2, 3, 3]))]
    if is_calm and troubles and troubles[0].blow in ("process", "power") and _can_ask_beyond(kind, target, options):
        # What the log forgot is believed to be absent without a further wait.
        pause = max(troubles[0].pause_seconds, settle + lag)
        troubles[0] = replace(troubles[0], is_cut=draw.random() < 0.7, pause_seconds=pause)
    return Case(
        seed,
        kind,
        target,
        credentials,
        options,
        _plan(kind, target, settle, is_calm, draw, naming, lag, columns),
        weather,
        tuple(lines),
        markers,
        tuple(_old_rows(kind, markers, draw)),
        tuple(troubles),
        SMALL if draw.random() < 0.6 else Sizes(),
        draw.choice([1, 3, 8, 16, 64]),
        naming,
    )


def _naming(target: TargetSettings, draw: Random) -> Naming:
    if not isinstance(target, OzariUpdate):
        return "one"
    return draw.choice(["one", "spelt"] if target.match else ["one", "two", "two", "spelt"])


def _target(kind: Kind, draw: Random) -> tuple[TargetSettings, Credentials]:
    secret = Secret("emulator-token")
    if kind == "update":
        return OzariUpdate(TABLE, match=("fcode",) if draw.random() < 0.5 else ()), OzariCredentials(secret)
    by = draw.choice(["stamp", "stamp", "key", "both", "nothing"])
    key_field, stamp_field = ("Code", "Stamp") if kind == "add" else ("fcode", "fstamp")
    key = key_field if by in ("key", "both") else None
    stamp = stamp_field if by in ("stamp", "both") else None
    if kind == "insert":
        return OzariInsert(TABLE, key, stamp), OzariCredentials(secret)
    is_unique = by != "nothing" and draw.random() < 0.8
    canbus = CanbusCredentials("emulator", Secret(APP), Secret("emulator-key"), Secret("emulator-secret"))
    return CanbusAdd("loader", key, stamp, is_unique), canbus


def _options(kind: Kind, target: TargetSettings, settle: float, count: int, draw: Random) -> Options:
    has_name = isinstance(target, OzariUpdate) or target.key is not None or target.stamp is not None
    policies: tuple[AmbiguousPolicy | None, ...] = (*[None] * 8, "hold")
    if not has_name and draw.random() < 0.2:
        policies = ("resend",)
    return Options(
        rate=draw.choice([Rate(20.0), Rate(200.0), Rate(2000.0), Rate(), Rate(None, 50.0)]),
        concurrency=draw.choice([None, 1, 2, 5, 16]),
        is_ordered=draw.random() < 0.15,
        max_lines=draw.randint(1, count) if draw.random() < 0.1 else None,
        ambiguous=draw.choice(policies),
        max_rejects=RejectLimit(percent=100.0),
        max_records=draw.choice([1, 2, 7, 25, 1000]) if kind == "add" else 1000,
        max_bytes=draw.choice([400, 2000, 8 * 1024 * 1024]) if kind == "add" else 8 * 1024 * 1024,
        timeout_seconds=draw.choice([2.0, 10.0, 60.0]),
        settle_seconds=settle,
        patience_seconds=draw.choice([20.0, 120.0, 900.0]),
        base_url="http://127.0.0.1:1",
    )


def _lines(target: TargetSettings, count: int, draw: Random, naming: Naming) -> tuple[list[bytes], dict[int, str]]:
    lines, markers = [], {}
    has_faults = draw.random() < 0.3
    for number in range(1, count + 1):
        fate = draw.random() if has_faults else 1.0
        if fate < 0.03:
            bad = [b"{not json", b"[1]", b"{}", b'\xff{"a":1}', b'{"a":1,"a":2}']
            lines.append(draw.choice(bad))
        elif fate < 0.06:
            lines.append(draw.choice([b"", b"  ", b"\t"]))
        else:
            markers[number] = f"name {number}"
            lines.append(line_of(target, number, draw, naming))
    return lines, markers


def line_of(target: TargetSettings, number: int, draw: Random, naming: Naming = "one") -> bytes:
    """Write a record's line. Updates of one row come again and again."""
    name, value = f"name {number}", dict[str, Any]()
    match target:
        case CanbusAdd():
            value = {"Code": f"K{number}", "Name": name}
        case OzariInsert():
            value = {"fcode": f"K{number}", "fname": name}
        case OzariUpdate():
            row = f"K{draw.randint(1, MOST_ROWS)}"
            filters = _filters(row, number, naming)
            value = {**filters, "fname": name} if target.match else {"filters": filters, "fields": {"fname": name}}
    return json.dumps(value).encode()


def _filters(row: str, number: int, naming: Naming) -> dict[str, Any]:
    """Name a row. A second set of fields comes now and then, in some worlds late."""
    draw = Random(f"filters {row} {number}")
    if naming == "two" and number > 5 and draw.random() < 0.3:
        return {"fext": f"E{row[1:]}"}
    if naming == "spelt":
        return {"fcode": draw.choice([row, row.lower(), f"{row} ", f"\uff2b{row[1:]}"])}
    return {"fcode": row}


def row_of(filters: dict[str, Any]) -> str:
    """Say which row filters name."""
    name: str = filters.get("fcode") or filters["fext"]
    return "K" + name.strip()[1:]


def _old_rows(kind: Kind, markers: dict[int, str], draw: Random) -> list[dict[str, Any]]:
    """Rows that the table has before the run: those to be updated, or older ones with keys of ours."""
    if kind == "update":
        rows = [row for row in range(1, MOST_ROWS + 1) if draw.random() < 0.95]
        return [{"fcode": f"K{row}", "fext": f"E{row}", "fname": "old"} for row in rows]
    if kind == "insert" and draw.random() < 0.3:
        return [{"fcode": f"K{number}", "fname": "old"} for number in markers if draw.random() < 0.3]
    return []


def _weather(mean: float, draw: Random) -> Weather:
    rough = draw.choice([0.0, 0.01, 0.05, 0.15])
    outages = []
    for _ in range(draw.choice([0, 0, 1, 2])):
        begins = draw.expovariate(0.2)
        seconds = draw.choice([draw.random(), draw.random() * 20, draw.random() * 200])
        kind = draw.choice(["refused", "silent", "503", "429", "401", "403"])
        outages.append(Outage(begins, begins + seconds, kind))
    return Weather(
        mean,
        refused=rough * draw.random(),
        lost_before=rough * draw.random(),
        lost_after=rough * draw.random(),
        outages=tuple(outages),
    )


def _can_ask_beyond(kind: Kind, target: TargetSettings, options: Options) -> bool:
    """Say whether a log may come back shorter than it was.

    Only in fair weather, and not after an earlier crash: a resume asks beyond the last intent until a whole window is absent,
    and a window that waits for its settle time while others overtake it looks just so.
    """
    has_stamp = getattr(target, "stamp", None) is not None
    return has_stamp and options.ambiguous != "hold" and (kind == "insert" or getattr(target, "is_unique", False))


def _trouble(kind: Kind, count: int, draw: Random) -> Trouble:
    deaths: list[Blow] = ["process", "power"]
    others: list[Blow] = ["signal", "signals", "cancel", "cancels", "stall", "nap"]
    blows = 5 * deaths + others
    return Trouble(
        draw.choice(blows),
        draw.choice(["disk", "request", "time"]),
        at=1 + int(draw.expovariate(1 / 20)) if draw.random() < 0.5 else draw.randint(1, 2 * count + 10),
        seconds=draw.choice([draw.random() * 0.2, draw.random() * 3, draw.random() * 40]),
        moment=draw.random(),
        pause_seconds=draw.choice([0.0, draw.random(), draw.random() * 100]),
        appended=draw.randint(1, 20) if draw.random() < 0.15 else 0,
        has_rival=draw.random() < 0.1,
    )


# --- the target ---------------------------------------------------------------------------------------------------------


def _unkindness(
    kind: Kind, target: TargetSettings, options: Options, draw: Random
) -> tuple[float, tuple[dict[str, Any], ...]]:
    """Draw a read lag that is longer than the settle time, and a key's column that cuts or folds; mostly neither.

    A stamp's column has just the room that a stamp needs: one without would stop the run at its first record.
    """
    if kind != "insert" or draw.random() < 0.6:
        return 0.0, ()
    settle = options.settle_seconds
    lag = draw.choice([0.0, 1.2 * settle, 2.5 * settle])
    lag = min(
        lag, 0.8 * max(options.patience_seconds, settle)
    )  # who waits longer than the patience is stopped, and rightly
    if target.stamp is not None:
        return lag, ({"name": "fstamp", "max_length": 20, "is_strict": False},)
    unkind: list[dict[str, Any]] = [
        {"stored_case": "lower"},
        {"max_length": 2, "is_strict": False},
        {"max_length": 3, "is_strict": False},
        {"max_length": 6, "blanks": "padded"},
        {"type": "integer", "is_strict": False},
    ]
    return lag, ({"name": "fcode", **draw.choice(unkind)},)


def _plan(
    kind: Kind,
    target: TargetSettings,
    settle: float,
    is_calm: bool,
    draw: Random,
    naming: Naming,
    long_lag: float = 0.0,
    columns: tuple[dict[str, Any], ...] = (),
) -> Plan:
    late = LATE_SHARE * settle
    values: dict[str, Any] = {"seed": draw.randint(0, 2**31)}
    faults = [] if is_calm else _faults(kind, late, draw)
    values["faults"] = faults
    lag = draw.choice([0.0, 0.0, 0.5, 0.1 * settle])
    limit = {"per_second": draw.choice([5, 30, 200]), "kind": draw.choice(["window", "sliding", "bucket"])}
    limit["retry_after"] = draw.choice(["none", "exact", "rounded_up", "http_date"])
    if limit["kind"] == "bucket":
        limit["burst"] = draw.choice([1, 10])
    has_limit = draw.random() < 0.2 and not any(rule["kind"] == "echo" for rule in faults)
    limits = (
        {"rate_limit": limit} if has_limit else {}
    )  # the answer of another request may be "too fast", and who can tell?
    if kind == "add":
        values["canbus"] = _canbus(target, draw) | limits
    else:
        values["ozari"] = {
            "query": draw.choice(["on", "on", "on", "off_json", "off_html"]),
            "inserted_id": "null" if draw.random() < 0.05 else "number",
            "insert_status": draw.choice([200, 201]),
            "echo": draw.choice(["as_sent", "as_sent", "trim", "text", "blank_null"]),
            "read_delay_seconds": long_lag or lag,
            **({"folds": ["case", "width", "blanks"]} if naming == "spelt" else {}),
            "collation": draw.choice(["exact", "loose"]) if columns else "exact",
            "tables": {TABLE: {"fields": columns}} if columns else {},
            **limits,
        }
    return parse_plan(json.dumps(values).encode(), is_json=True)


def _canbus(target: TargetSettings, draw: Random) -> dict[str, Any]:
    items: dict[str, Any] = {}
    name = getattr(target, "stamp", None) or getattr(target, "key", None)
    if name is not None and getattr(target, "is_unique", False):
        items[name] = {"is_unique": True}
    return {
        "apps": [{"items": items}],
        "is_atomic": draw.random() < 0.4,
        "neighbour_code": draw.choice(["1", "0", "9999"]),
        "success_status": draw.choice([200, 201]),
        "partial_failure_status": draw.choice([200, 201, 207]),
        "total_failure_status": draw.choice([200, 201, 207]),
        "failed_id": draw.choice(["absent", "null", "empty"]),
    }


def _faults(kind: Kind, late: float, draw: Random) -> list[dict[str, Any]]:
    rules = []
    count = draw.choice([0, 1, 2, 3, 5])
    for _ in range(count):
        rule = _fault(kind, late / count, draw)  # all may hit one request, and delays add up
        rule["probability"] = draw.choice([0.01, 0.05, 0.05, 0.2])
        if draw.random() < 0.2:
            rule["times"] = draw.randint(1, 5)
        rules.append(rule)
    if any(rule["kind"] == "status" and rule["status"] in REFUSING for rule in rules):
        for rule in rules:  # rows that are written before the wait would make a liar of who then refuses
            rule.update({"commit": "after"} if rule["kind"] == "latency" else {})
    return rules


def _fault(kind: Kind, late: float, draw: Random) -> dict[str, Any]:
    record = {"insert": "insert", "update": "update", "add": "add"}[kind]
    choices: list[dict[str, Any]] = [
        {"kind": "latency", "milliseconds": draw.choice([20, 500, 1000 * late]), "commit": draw.choice(["before", "after"])},
        {"kind": "status", "status": draw.choice([500, 502, 503, 504, 520, 408]), "commit": draw.choice(["before", "never"]),
         "content": draw.choice(["json", "html", "empty"])},
        {"kind": "status", "status": draw.choice([429, 503]), "retry_after": draw.choice(["1", "7", "0", "-3", "1e9", "soon"])},
        {"kind": "reset", "when": draw.choice(["before", "after"])},
        {"kind": "close", "when": draw.choice(["before", "after"])},
        {"kind": "hang", "when": draw.choice(["before", "after"])},
        {"kind": "cut", "when": draw.choice(["before", "after"]), "part": draw.choice(["headers", "body"]),
         "framing": draw.choice(["length", "chunked", "close"])},
        {"kind": "late_commit", "seconds": late * draw.random(), "ending": draw.choice(["reset", "close", "hang"])},
        {"kind": "null_id", "operations": [record]},
        {"kind": "malformed", "change": draw.choice(MALFORMED)},
        {"kind": "trickle"},
        {"kind": "status", "status": 413, "operations": [record], "times": draw.randint(1, 3)},
        {"kind": "results", "change": draw.choice(["short", "long", "empty"])},
        {"kind": "echo", "change": "foreign", "operations": ["insert"]},
        {"kind": "status", "status": draw.choice([400, 422, 409]), "operations": ["insert"], "times": 2},
    ]  # fmt: skip
    return draw.choice(choices)
