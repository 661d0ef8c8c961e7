"""The fault plan: which requests get which fault. Data and drawing only; `engine` and `effects` carry a fault out.

A rule says whom it may hit (api, operations, a text in the body), how often (probability, every n-th, after, until, times) and
what happens (its kind). Rules are asked in their order; each rule that may hit a request makes its draw, whether or not one
before it has fired, and the first that fired wins. Latency adds to whatever else happens. All draws come from one generator,
in the order of requests, so that the same requests in the same order meet the same faults.
"""

from __future__ import annotations

import math
from random import Random
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct, field

from loader.emulator.switches import Count, NotNegative, Positive, Status
from loader.emulator.wire import Api, Operation

Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
When: TypeAlias = Literal["headers", "before", "after"]
Loss: TypeAlias = Literal["reset", "close", "hang"]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Whom a fault may hit, and how often.

    Only the requests that may be hit are counted: `after` lets that many pass first, `until` ends with that one, `every` hits
    each n-th of those between, `times` ends after that many faults. `body_contains` picks requests by a text in their body.
    """

    api: Literal["any", "ozari", "canbus"] = "any"
    operations: tuple[Operation, ...] = ()
    body_contains: str | None = None
    probability: Probability = 1.0
    every: Count = 1
    after: Annotated[int, Meta(ge=0)] = 0
    until: Count | None = None
    times: Count | None = None

    @property
    def kind(self) -> str:
        """The fault's name in the plan and in the counts."""
        return str(self.__struct_config__.tag)


class Latency(Rule, frozen=True, kw_only=True, tag="latency"):
    """Answer late. `sigma` above 0 makes the wait lognormal with `milliseconds` as median.

    `commit` says on which side of the wait the rows are written; with "after" a client that leaves meanwhile meets the switch
    `commit_after_disconnect`.
    """

    milliseconds: Positive
    sigma: NotNegative = 0.0
    commit: Literal["before", "after"] = "after"


class StatusFault(Rule, frozen=True, kw_only=True, tag="status"):
    """Answer with a status instead of the answer. `commit` says whether the rows are written first.

    `is_early` answers at the end of the headers, while the body is still coming; the connection ends with it.
    """

    status: Status
    body: str | None = None
    content: Literal["json", "html", "empty"] = "json"
    retry_after: str | None = None
    location: str | None = None
    commit: Literal["before", "never"] = "never"
    is_early: bool = False

    def __post_init__(self) -> None:
        if self.is_early and self.commit == "before":
            message = "an early status is sent before the body is there, so its commit can only be never"
            raise ValueError(message)


class Reset(Rule, frozen=True, kw_only=True, tag="reset"):
    """End the connection with a RST. "headers": as soon as the headers are there; else before or after the commit."""

    when: When = "after"


class Close(Rule, frozen=True, kw_only=True, tag="close"):
    """End the connection with a FIN and no answer."""

    when: When = "after"


class Hang(Rule, frozen=True, kw_only=True, tag="hang"):
    """Keep the connection and never answer. "headers": stop reading in the middle of the request."""

    when: When = "after"


class Cut(Rule, frozen=True, kw_only=True, tag="cut"):
    """Send part of the answer, then end the connection.

    `framing`: how the body's end is marked; with "close" the cut body looks complete.
    """

    when: Literal["before", "after"] = "after"
    part: Literal["headers", "body"] = "body"
    framing: Literal["length", "chunked", "close"] = "length"
    ending: Loss = "close"


class Results(Rule, frozen=True, kw_only=True, tag="results"):
    """Change the list of results of a Canbus answer; the rows are as they should be."""

    change: Literal["short", "shuffled", "long", "empty"]


class LateCommit(Rule, frozen=True, kw_only=True, tag="late_commit"):
    """Lose the connection at once and write the rows later."""

    seconds: NotNegative
    ending: Loss = "close"


class Echo(Rule, frozen=True, kw_only=True, tag="echo"):
    """Change the values in Ozari's echo, or ("foreign", both APIs) give the answer of the request before."""

    change: Literal["trim", "text", "blank_null", "upper", "drop", "extra", "reversed", "foreign"]


class NullId(Rule, frozen=True, kw_only=True, tag="null_id"):
    """Ozari: `insertedId` null. Canbus: an element that was created has no id."""


class ExtraAnswer(Rule, frozen=True, kw_only=True, tag="extra_answer"):
    """Send one answer too many on the idle connection, a moment after the right one.

    `answer`: a second copy, an idle 408 with a FIN, or (at once, after the right one) bytes that are no HTTP.
    """

    answer: Literal["copy", "408", "junk"] = "copy"
    milliseconds: NotNegative = 5.0


class Malformed(Rule, frozen=True, kw_only=True, tag="malformed"):
    """Commit, then break the answer's own rules."""

    change: Literal["status_line", "header", "two_lengths", "short_length", "chunk_size", "gzip", "not_json"]


class Form(Rule, frozen=True, kw_only=True, tag="form"):
    """Commit, then give the right answer in a form that nobody asked for.

    `as_`: compressed (gzip, deflate as RFC 9110 has it, the bare stream; "other" names an encoding that nobody has), behind a
    byte order mark, behind the warning of a scripting language, or as HTML around it.
    """

    as_: Literal["gzip", "deflate", "raw_deflate", "other", "bom", "warning", "html"] = field(name="as", default="gzip")


class Trickle(Rule, frozen=True, kw_only=True, tag="trickle"):
    """Commit, then send the answer's body byte by byte, or ("interim") interim answers for ever."""

    milliseconds: Positive = 100.0
    of: Literal["body", "interim"] = "body"


class GoBack(Rule, frozen=True, kw_only=True, tag="go_back"):
    """Put every table back to its first rows before the request is carried out: a backup from then.

    The numbering of new rows goes back too. What was updated since stays.
    """

    keep_rows: Annotated[int, Meta(ge=0)] = 0


Fault: TypeAlias = (
    Latency
    | StatusFault
    | Reset
    | Close
    | Hang
    | Cut
    | Results
    | LateCommit
    | Echo
    | NullId
    | ExtraAnswer
    | Malformed
    | Form
    | Trickle
    | GoBack
)


class Drawn(NamedTuple):
    """What one request meets. `is_committed_first`: the rows are written before the wait."""

    delay_seconds: float = 0.0
    is_committed_first: bool = False
    fault: Fault | None = None


NOTHING = Drawn()


class Draws:
    """Ask the rules, request by request, and count what they gave."""

    def __init__(self, rules: tuple[Fault, ...], random: Random) -> None:
        self.rules = rules
        self.has_early = any(is_early(rule) for rule in rules)
        self._random = random
        self._seen = [0] * len(rules)
        self._given = [0] * len(rules)
        # (api, operation) -> indexes of the rules that may hit: those for the end of the headers, the others.
        self._matching: dict[tuple[Api, Operation], tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def at_headers(self, api: Api, operation: Operation) -> Fault | None:
        """Draw what happens when the headers are there. Such rules cannot look into the body."""
        indexes = self._match(api, operation)[0]
        fired = [self.rules[index] for index in indexes if self._fires(index, self.rules[index])] if indexes else ()
        return fired[0] if fired else None

    def at_request(self, api: Api, operation: Operation, body: bytes) -> Drawn:
        """Draw what happens to a request that was read whole."""
        indexes = self._match(api, operation)[1]
        if not indexes:
            return NOTHING
        delay, is_committed_first, fault = 0.0, False, None
        for index in indexes:
            rule = self.rules[index]
            if rule.body_contains is not None and rule.body_contains.encode() not in body:
                continue
            if not self._fires(index, rule):
                continue
            if isinstance(rule, Latency):
                delay += self._wait_seconds(rule)
                is_committed_first = is_committed_first or rule.commit == "before"
            elif fault is None:
                fault = rule
        return Drawn(delay, is_committed_first, fault)

    def _match(self, api: Api, operation: Operation) -> tuple[tuple[int, ...], tuple[int, ...]]:
        found = self._matching.get((api, operation))
        if found is None:
            hits = [
                index
                for index, rule in enumerate(self.rules)
                if rule.api in ("any", api) and (not rule.operations or operation in rule.operations)
            ]
            early = tuple(index for index in hits if is_early(self.rules[index]))
            late = tuple(index for index in hits if index not in early)
            found = self._matching[api, operation] = (early, late)
        return found

    def _fires(self, index: int, rule: Fault) -> bool:
        self._seen[index] += 1
        number = self._seen[index] - rule.after
        if number < 1 or (rule.until is not None and self._seen[index] > rule.until):
            return False
        if number % rule.every or (rule.times is not None and self._given[index] >= rule.times):
            return False
        if rule.probability < 1.0 and self._random.random() >= rule.probability:
            return False
        self._given[index] += 1
        return True

    def _wait_seconds(self, rule: Latency) -> float:
        median = rule.milliseconds / 1000.0
        if not rule.sigma:
            return median
        return self._random.lognormvariate(math.log(median), rule.sigma)


def is_early(rule: Fault) -> bool:
    """Say whether a rule strikes at the end of the headers."""
    if isinstance(rule, Reset | Close | Hang):
        return rule.when == "headers"
    return isinstance(rule, StatusFault) and rule.is_early
