"""What an execution can do about ambiguous records: how the target is asked, and which claim has to be proved for it.

It follows from the target, from what the user named (key, stamp, unique), and from what the target can be asked. It is found out
once, before the first record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loader.delivery.claim import Prover
from loader.errors import RunStopped
from loader.model import Created, Halt, NoResponse, Record, Retry, Updated
from loader.pipeline.created_earlier import created_earlier
from loader.pipeline.preflight import FIRST_CONTACT_SECONDS
from loader.reconcile.beliefs import Beliefs
from loader.reconcile.keeping import LONGER, Keeping
from loader.reconcile.policy import Decision, Policy
from loader.reconcile.proof import KeyProof, StampProof, TakesBack, UniqueProof
from loader.reconcile.strategies import ByLookup, BySending
from loader.reconcile.updates import ByUpdateLookup
from loader.runs.opening import OpenRun
from loader.targets.base import NoQueryEndpoint, OwnRows, QueryEndpoint
from loader.targets.registry import build_capability, build_lookup, build_own_rows, build_update_lookup

if TYPE_CHECKING:
    from loader.pipeline.session import Session

ASK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Setup:
    """The policy about ambiguous records, and what proves the claim that it rests on; None: there is nothing to prove."""

    policy: Policy
    prover: Prover | None = None
    own_rows: OwnRows | None = None
    """Asks about rows that the run created; None: nobody tells of them."""
    can_query: bool = False
    """Whether the table can be queried, as far as it was asked."""


async def find_out(session: Session, decision: Decision | None) -> Setup:
    """Ask the target what it can be asked, and choose. Errors: RunStopped."""
    run, options = session.run, session.run.plan.options
    settings = run.plan.target
    setup = Setup(Policy(options.settle_seconds))
    endpoint: QueryEndpoint | NoQueryEndpoint | None = None
    sends_blindly = options.ambiguous == "resend" and not settings.is_update
    is_asked = not sends_blindly and options.ambiguous != "hold" and settings.is_askable
    if run.plan.kind.new_capability is not None and (is_asked or options.is_exact):
        endpoint = await ask_capability(session)
    if options.is_exact and isinstance(endpoint, NoQueryEndpoint):
        hint = "go on without --exact: `loader resume RUN --no-exact`; rows of another spelling are then updated"
        raise RunStopped("answers", f"--exact has to look at each row first, and {endpoint.reason}", hint)
    if is_asked:
        setup = _ways_to_ask(session, endpoint)
    accepted = Updated() if settings.is_update else Created(None)
    policy = replace(setup.policy, sends_blindly=sends_blindly, decision=decision, accepted=accepted)
    return replace(setup, policy=policy, can_query=isinstance(endpoint, QueryEndpoint))


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


def _ways_to_ask(session: Session, endpoint: QueryEndpoint | NoQueryEndpoint | None) -> Setup:
    run, target, credentials = session.run, session.run.plan.target, session.run.plan.credentials
    settle = run.plan.options.settle_seconds
    if run.plan.kind.new_capability is None:
        strategy = BySending(run.plan.options.max_records, is_in_doubt=True)
        return Setup(Policy(settle, strategy), _unique_proof(session))
    if endpoint is None:
        return Setup(Policy(settle))
    if target.is_update:
        lookup = build_update_lookup(target, credentials, endpoint)
        return Setup(Policy(settle, ByUpdateLookup(lookup, session.sender)))
    return _ask_by_text(session, endpoint)


def _unique_proof(session: Session) -> Prover | None:
    run, target = session.run, session.target
    if not run.plan.target.needs_proof or run.notes.is_proved or not isinstance(target, TakesBack):
        return None
    settle = run.plan.options.settle_seconds
    return ShownProof(UniqueProof(target, session.sender, session.stop, session.runtime, settle), session)


def _ask_by_text(session: Session, endpoint: QueryEndpoint | NoQueryEndpoint) -> Setup:
    """Ask by stamp or key. A stamp is proved before a second record leaves; either, before an absence is believed."""
    run, target, credentials = session.run, session.run.plan.target, session.run.plan.credentials
    options = run.plan.options
    floor = _floor(run, endpoint)
    lookup = build_lookup(target, credentials, endpoint, floor)
    any_row = build_lookup(
        target, credentials, endpoint, floor or 0
    )  # a record that the run has created is no older row
    if lookup is None or any_row is None:
        reason = endpoint.reason if isinstance(endpoint, NoQueryEndpoint) else "there is no question for it"
        session.warn(f"no record can be asked for by its key ({reason}); ambiguous ones are listed")
        return Setup(Policy(options.settle_seconds))
    is_stamp = target.stamp is not None
    own_rows = build_own_rows(target, credentials, endpoint)
    keeping = Keeping(
        word="stamp" if is_stamp else "key",
        strategy=ByLookup(any_row, session.sender, run.log, is_exact=True),
        own_rows=own_rows,
        sender=session.sender,
        stop=session.stop,
        runtime=session.runtime,
        warn=session.warn,
        short_seconds=options.settle_seconds,
        # A stamp is proved by a record that was created just now; a key by one that somebody may have deleted since.
        patience_seconds=options.patience_seconds if is_stamp else LONGER * options.settle_seconds,
    )
    is_even = is_stamp and run.info.stamp_form.is_even
    beliefs = Beliefs(keeping, target.stamp or target.key or "", run.notes, is_even=is_even)
    if run.is_resumed and not is_even:
        beliefs.offer(created_earlier(session))
    strategy = ByLookup(lookup, session.sender, run.log, is_exact=is_stamp, learn=beliefs.learn)
    # Stamps of an earlier version grow, and were proved by the shortest one: no note says for what.
    is_proved = run.notes.is_proved and run.notes.proved_for is not None
    policy = Policy(options.settle_seconds, strategy, beliefs=beliefs)
    if is_proved or (not is_stamp and beliefs.has_samples):
        return Setup(policy, None, own_rows)
    prover: Prover = KeyProof(beliefs)
    if is_stamp:
        prover = ShownProof(StampProof(keeping, beliefs, session.stop), session)
    return Setup(policy, prover, own_rows)


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
