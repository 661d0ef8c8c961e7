"""The faults of the matrix and what each means, derived from reliability.md 2.3.

A fault is a rule of the emulator's plan (or a script of a raw proxy in front of it) that strikes one request. Its effect says
what the loader must make of the struck request, and whether the target applied it. Where an API or an operation differs, `but`
says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Operation: TypeAlias = Literal["insert", "update", "add", "query"]
OPERATIONS: tuple[Operation, ...] = ("insert", "update", "add", "query")


@dataclass(frozen=True)
class Done:
    """As if nothing had happened. `has_id` False: created, but the id was not told."""

    has_id: bool = True


@dataclass(frozen=True)
class Doubt:
    """May be applied: never sent again unasked. `is_applied` is the truth, which the loader cannot know.

    A question whose answer is in doubt is asked again.
    """

    is_applied: bool


@dataclass(frozen=True)
class Again:
    """Certainly not applied: sent again."""


@dataclass(frozen=True)
class Refused:
    """The record is at fault. A chunk is halved. A question that is refused settles nothing."""

    code: str


@dataclass(frozen=True)
class Stops:
    """Nothing can succeed: the run stops at once, resumable. `is_doubtful`: the request may have been applied."""

    reason: str
    is_doubtful: bool = False


Effect: TypeAlias = Done | Doubt | Again | Refused | Stops


@dataclass(frozen=True)
class Fault:
    """One fault. `is_slow`: it ends by the timeout."""

    name: str
    effect: Effect
    rule: Mapping[str, Any] = field(default_factory=dict)
    but: Mapping[Operation, Effect] = field(default_factory=dict)
    operations: tuple[Operation, ...] = OPERATIONS
    is_slow: bool = False
    is_stray: bool = False
    """It comes on the idle connection, and may cross a later request on its way: then that one is in doubt, and no other."""
    needs_others: bool = False
    """It says something only where another request went before."""
    script: str | None = None
    """The raw proxy's script, in place of a rule."""

    def effect_on(self, operation: Operation) -> Effect:
        return self.but.get(operation, self.effect)


APPLIED, NOT_APPLIED = Doubt(is_applied=True), Doubt(is_applied=False)
REDIRECTED = Stops("redirect", is_doubtful=True)
# A refused question: the endpoint says no, and the record stays listed as ambiguous.
OPEN = Refused("")


def status(number: int, effect: Effect, name: str = "", **rule: Any) -> Fault:
    but: dict[Operation, Effect] = rule.pop("but", {})
    return Fault(name or f"{number}", effect, {"kind": "status", "status": number, **rule}, but)


STATUSES = (
    status(400, Refused("400"), but={"query": OPEN}),
    status(401, Stops("credentials")),
    # A 403 of the query endpoint may only mean a table that is closed to queries (apis.md part 5.2).
    status(403, Stops("credentials"), but={"query": OPEN}),
    # Canbus' own 404 has no form by which it could be known (apis.md 2.2), so the preflight decides, as for a page.
    status(404, Stops("table"), but={"query": OPEN, "add": Again()}),
    status(404, Again(), "404 as a page", content="html", but={"query": OPEN}),
    status(405, Stops("table"), but={"query": OPEN}),
    status(408, NOT_APPLIED),
    status(409, Refused("409"), but={"add": NOT_APPLIED, "query": OPEN}),
    status(413, Refused("413"), but={"query": OPEN}),
    status(415, Refused("415"), but={"query": OPEN}),
    status(418, NOT_APPLIED, but={"query": OPEN}),
    status(422, Refused("422"), "422 as a page", content="html", but={"query": OPEN}),
    status(429, Again()),
    status(429, Again(), "429 with Retry-After", retry_after="0"),
    status(429, Again(), "429 as a page", content="html"),
    status(500, NOT_APPLIED, "500 before"),
    status(500, APPLIED, "500 after", commit="before"),
    status(502, APPLIED, "502 after, a page", commit="before", content="html"),
    status(503, APPLIED, "503 after, empty", commit="before", content="empty"),
    status(503, NOT_APPLIED, "503 with Retry-After", retry_after="0"),
    status(504, APPLIED, "504 after", commit="before"),
    status(520, APPLIED, "520 after", commit="before"),
    status(302, REDIRECTED, location="http://127.0.0.1:1/"),
    status(307, REDIRECTED, "307 after", location="http://127.0.0.1:1/", commit="before"),
)
LOST = (
    *(
        Fault(f"{kind} {when}", APPLIED if when == "after" else NOT_APPLIED, {"kind": kind, "when": when})
        for kind in ("reset", "close")
        for when in ("headers", "before", "after")
    ),
    *(
        Fault(f"hang {when}", APPLIED if when == "after" else NOT_APPLIED, {"kind": "hang", "when": when}, is_slow=True)
        for when in ("headers", "before", "after")
    ),
    Fault("late commit", APPLIED, {"kind": "late_commit", "seconds": 0.05}),
    Fault("late commit, reset", APPLIED, {"kind": "late_commit", "seconds": 0.05, "ending": "reset"}),
    Fault("latency", Done(), {"kind": "latency", "milliseconds": 30}),
    Fault("latency beyond the timeout", APPLIED, {"kind": "latency", "milliseconds": 2500}, is_slow=True),
)
CUTS = (
    *(
        Fault(
            f"cut headers {ending}",
            APPLIED,
            {"kind": "cut", "part": "headers", "ending": ending},
            is_slow=ending == "hang",
        )
        for ending in ("close", "reset", "hang")
    ),
    *(
        Fault(
            f"cut body {framing} {ending}",
            APPLIED,
            {"kind": "cut", "framing": framing, "ending": ending},
            is_slow=ending == "hang",
        )
        for framing in ("length", "chunked")
        for ending in ("close", "reset", "hang")
    ),
    Fault("cut body that looks complete", APPLIED, {"kind": "cut", "framing": "close"}),
    Fault("cut body before the commit", NOT_APPLIED, {"kind": "cut", "when": "before"}),
)
BROKEN = (
    *(
        Fault(f"malformed {change}", APPLIED, {"kind": "malformed", "change": change})
        for change in ("status_line", "header", "two_lengths", "short_length", "chunk_size")
    ),
    # The answer looks whole to the connection, which the server then ends without a word.
    Fault("malformed gzip", APPLIED, {"kind": "malformed", "change": "gzip"}, is_stray=True),
    Fault("malformed not_json", APPLIED, {"kind": "malformed", "change": "not_json"}, {"query": APPLIED}),
    Fault("trickled body", APPLIED, {"kind": "trickle", "milliseconds": 100}, is_slow=True),
    Fault("trickled body in time", Done(), {"kind": "trickle", "milliseconds": 0.2}),
    Fault("endless interim answers", APPLIED, {"kind": "trickle", "of": "interim"}, is_slow=True),
    Fault("a copy of the answer", Done(), {"kind": "extra_answer", "answer": "copy"}, is_stray=True),
    Fault("an idle 408", Done(), {"kind": "extra_answer", "answer": "408"}, is_stray=True),
)
CONTENTS = (
    *(
        Fault(f"results {change}", APPLIED, {"kind": "results", "change": change}, operations=("add",))
        for change in ("short", "long", "empty")
    ),
    *(
        Fault(f"echo {change}", Done(), {"kind": "echo", "change": change}, operations=("insert", "update"))
        for change in ("trim", "text", "blank_null", "upper", "drop", "extra", "reversed")
    ),
    Fault(
        "foreign answer",
        APPLIED,
        {"kind": "echo", "change": "foreign"},
        operations=("insert", "update"),
        needs_others=True,
    ),
    Fault("no id", Done(has_id=False), {"kind": "null_id"}, operations=("insert", "add")),
)
RAW_EFFECTS: dict[str, Effect] = {
    "half close, then commit": APPLIED,
    "a long header": APPLIED,
    "many headers": APPLIED,
    "junk behind the answer": APPLIED,
    "reset in the head": NOT_APPLIED,
    "interim answer first": Done(),
    "two answers in one segment": Done(),
}
RAW = tuple(
    Fault(f"raw: {script}", effect, script=script, operations=("insert", "update", "add"))
    for script, effect in RAW_EFFECTS.items()
)
FAULTS = STATUSES + LOST + CUTS + BROKEN + CONTENTS + RAW
