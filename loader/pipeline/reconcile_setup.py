"""What an execution can do about ambiguous records: how the target is asked, and which claim has to be proved for it.

It follows from the target, from what the user named (key, stamp, unique), and from what the target can be asked. It is found out
once, before the first record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loader.delivery.claim import Prover
from loader.errors import RunStopped
from loader.model import Created, Halt, NoResponse, Retry, Updated
from loader.reconcile.proof import StampProof, TakesBack, UniqueProof
from loader.reconcile.reconciler import Decision, Policy
from loader.reconcile.strategies import ByLookup, BySending, Strategy
from loader.reconcile.updates import ByUpdateLookup
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
    can_query: bool = False
    """Whether the table can be queried, as far as it was asked."""


async def find_out(session: Session, decision: Decision | None) -> Setup:
    """Ask the target what it can be asked, and choose. Errors: RunStopped."""
    run, options = session.run, session.run.plan.options
    settings = run.plan.target
    strategy: Strategy | None = None
    endpoint: QueryEndpoint | NoQueryEndpoint | None = None
    sends_blindly = options.ambiguous == "resend" and not settings.is_update
    is_asked = not sends_blindly and options.ambiguous != "hold" and settings.is_askable
    if run.plan.kind.new_capability is not None and (is_asked or options.is_exact):
        endpoint = await ask_capability(session)
    if options.is_exact and isinstance(endpoint, NoQueryEndpoint):
        hint = "go on without --exact: `loader resume RUN --no-exact`; rows of another spelling are then updated"
        raise RunStopped("answers", f"--exact has to look at each row first, and {endpoint.reason}", hint)
    if is_asked:
        strategy = _strategy(session, endpoint)
    accepted = Updated() if settings.is_update else Created(None)
    policy = Policy(options.settle_seconds, strategy, sends_blindly, decision, accepted)
    if strategy is None or not settings.needs_proof or run.notes.is_proved:
        return Setup(policy, can_query=isinstance(endpoint, QueryEndpoint))
    return Setup(policy, _prover(session, strategy), isinstance(endpoint, QueryEndpoint))


def _prover(session: Session, strategy: Strategy) -> Prover:
    target, stop, runtime = session.target, session.stop, session.runtime
    if isinstance(target, TakesBack):
        return UniqueProof(target, session.sender, stop, runtime, session.run.plan.options.settle_seconds)
    return StampProof(strategy, stop, runtime)


def _strategy(session: Session, endpoint: QueryEndpoint | NoQueryEndpoint | None) -> Strategy | None:
    run, target, credentials = session.run, session.run.plan.target, session.run.plan.credentials
    if run.plan.kind.new_capability is None:
        return BySending(run.plan.options.max_records, is_in_doubt=True)
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
    began = runtime.clock()
    while not stop.is_requested:
        reply = await sender.send(question.encode(), is_record=False)
        answer = Retry(reply.error) if isinstance(reply, NoResponse) else question.read(reply)
        if isinstance(answer, Halt):
            stop.halt(answer)
        elif not isinstance(answer, Retry):
            sender.was_answered(is_useful=True)
            return answer
        elif runtime.clock() - began >= run.plan.options.patience_seconds:
            hint = "see whether the target is up; go on with `loader resume RUN`"
            raise RunStopped("patience", f"the table cannot be asked: {answer.reason}", hint)
        else:
            await runtime.sleep(ASK_AGAIN_SECONDS)
    return None
