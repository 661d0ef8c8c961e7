"""What an execution does about ambiguous records, as one value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from loader.model import Created, Outcome, Rejected
from loader.reconcile.beliefs import Beliefs
from loader.reconcile.strategies import Strategy

Decision: TypeAlias = Literal["accept", "resend", "reject"]

UNKNOWN_ID = Created(None)
REJECTED_BY_DECISION = Rejected(
    "target", "ambiguous", "rejected by the user's word: it does not exist, and is not to be sent"
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What an execution does about ambiguous records.

    `strategy`: how the target is asked; None where it is not. `sends_blindly`: each is sent again at once, whatever that doubles
    (`--ambiguous resend`). `decision`: what the user says of records that nothing else settles (`loader reconcile`), and
    `accepted` the outcome that "accept" stands for.
    """

    settle_seconds: float
    strategy: Strategy | None = None
    sends_blindly: bool = False
    decision: Decision | None = None
    accepted: Outcome = UNKNOWN_ID
    beliefs: Beliefs | None = None
    """Which absences may be believed; None: what the strategy concludes."""
