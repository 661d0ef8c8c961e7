"""What an execution can do about ambiguous records: how the target is asked, and which claim has to be proved for it.

It follows from the target, from what the user named (key, stamp, unique), and from what the target can be asked. It is found out
once, before the first record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loader.delivery.claim import Prover
from loader.errors import RunStopped
from loader.model import Created, Halt, NoResponse, Record, Retry, Updated
from loader.pipeline.preflight import FIRST_CONTACT_SECONDS
from loader.reconcile.proof import StampProof, TakesBack, UniqueProof
from loader.reconcile.reconciler import Decision, Policy
from loader.reconcile.strategies import ByLookup, BySending, ByUpdateLookup, Strategy
from loader.runs.opening import OpenRun
from loader.targets.base import NoQueryEndpoint, QueryEndpoint
from loader.targets.registry import build_capability, build_lookup, build_update_lookup

if TYPE_CHECKING:
    from loader.pipeline.session import Session

FLOOR_NOTE = "highest_fid"
ASK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Setup:
    """The policy about ambiguous records, and what proves the claim that it rests on; None: there is nothing to prove."""

    policy: Policy
    prover: Prover | None = None


async def find_out(session: Session, decision: Decision | None) -> Setup:
    """Ask the target what it can be asked, and choose. Errors: RunStopped."""
    run, options = session.run, session.run.plan.options
    settings = run.plan.target
    strategy: Strategy | None = None
    sends_blindly = options.ambiguous == "resend" and not settings.is_update
    if not sends_blindly and options.ambiguous != "hold" and settings.is_askable:
        strategy = await _strategy(session)
    accepted = Updated() if settings.is_update else Created(None)
    policy = Policy(options.settle_seconds, strategy, sends_blindly, decision, accepted)
    if strategy is None or not settings.needs_proof or run.notes.is_proved:
        return Setup(policy)
    return Setup(policy, _prover(session, strategy))


def _prover(session: Session, strategy: Strategy) -> Prover:
    target, stop, runtime = session.target, session.stop, session.runtime
    if isinstance(target, TakesBack):
        settle = session.run.plan.options.settle_seconds
        return ShownProof(UniqueProof(target, session.sender, stop, runtime, settle), session)
    return ShownProof(StampProof(strategy, stop, runtime), session)


class ShownProof:
    """Proves a claim, and lets it be seen that the run waits for that."""

    def __init__(self, prover: StampProof | UniqueProof, session: Session) -> None:
        self.is_proved_by_finding = prover.is_proved_by_finding
        self._prover = prover
        self._session = session

    async def prove(self, record: Record, created: Created) -> bool:
        """See `Prover`."""
        what = "the stamp" if isinstance(self._prover, StampProof) else "that the item is unique"
        patience = self._session.run.plan.options.patience_seconds
        with self._session.waits.on(f"the proof of {what}, by the first record", patience) as waiting:
            self._prover.say = lambda reason: setattr(waiting, "reason", f"the proof of {what}: {reason}")
            return await self._prover.prove(record, created)


async def _strategy(session: Session) -> Strategy | None:
    run, target, credentials = session.run, session.run.plan.target, session.run.plan.credentials
    if run.plan.kind.new_capability is None:
        return BySending(run.plan.options.max_records, is_in_doubt=True)
    endpoint = await ask_capability(session)
    if endpoint is None:
        return None
    if target.is_update:
        return ByUpdateLookup(build_update_lookup(target, credentials, endpoint), session.sender)
    lookup = build_lookup(target, credentials, endpoint, _floor(run, endpoint))
    if lookup is None:
        return None
    return ByLookup(lookup, session.sender, run.log, is_exact=target.stamp is not None)


def _floor(run: OpenRun, endpoint: QueryEndpoint | NoQueryEndpoint) -> int | None:
    """Return the highest fid at the run's start. Once something may have been sent, rows of its own lie above."""
    floor = run.notes.highest_fid
    if (
        floor is None
        and not run.log.state.sources
        and isinstance(endpoint, QueryEndpoint)
        and endpoint.highest_fid is not None
    ):
        floor = endpoint.highest_fid
        run.notes.highest_fid = floor
    return floor


async def ask_capability(session: Session) -> QueryEndpoint | NoQueryEndpoint | None:
    """Ask patiently whether the table can be queried. None: the run was stopped meanwhile. Errors: RunStopped."""
    run, sender, stop, runtime = session.run, session.sender, session.stop, session.runtime
    question = build_capability(run.plan.target, run.plan.credentials)
    began, asked = runtime.clock(), "whether the table can be queried"
    with session.waits.on(f"the answer {asked}", run.plan.options.patience_seconds) as waiting:
        while not stop.is_requested:
            reply = await sender.send(question.encode(), is_record=False)
            answer = Retry(reply.error) if isinstance(reply, NoResponse) else question.read(reply)
            if isinstance(answer, Halt):
                stop.halt(answer)
                break
            if not isinstance(answer, Retry):
                sender.was_answered(is_useful=True)
                return answer
            patience = run.plan.options.patience_seconds
            if answer.is_foreign:  # it hardly gets better
                patience = min(patience, FIRST_CONTACT_SECONDS)
            waiting.reason, waiting.until = f"{answer.reason}; asking again {asked}", began + patience
            if runtime.clock() - began >= patience:
                hint = "see whether the target is up; go on with `loader resume RUN`"
                raise RunStopped("patience", f"the table cannot be asked: {answer.reason}", hint)
            await runtime.sleep(ASK_AGAIN_SECONDS)
    return None
