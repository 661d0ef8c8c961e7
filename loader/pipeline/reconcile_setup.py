"""What this run can do about doubt: which remedy, which proof it rests on, and whether a shortened log can be asked around.

It follows from the target, from what the user named (key, stamp, unique) and from what the target can be asked. Chosen
once, before the first record.
"""

from __future__ import annotations

from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import Halt, NoResponse, Retry
from loader.pipeline.assembly import Assembly
from loader.pipeline.shortened_log import AskFirst, SendInDoubt
from loader.reconcile.proof import StampProof, TakesBack, UniqueProof
from loader.reconcile.strategies import Asking, AskingUpdates, Remedy, Repeating
from loader.runs.opening import OpenRun
from loader.runtime import Runtime
from loader.settings import CanbusAdd, OzariInsert, OzariUpdate
from loader.targets import build_capability, build_lookup, build_update_lookup
from loader.targets.base import NoQueryEndpoint, QueryEndpoint

ASK_AGAIN_SECONDS = 1.0


def can_ask(run: OpenRun) -> bool:
    """Say whether ambiguous records of this run can be reconciled by what the user named."""
    match run.plan.target:
        case OzariInsert(key=key, stamp=stamp):
            return key is not None or stamp is not None
        case CanbusAdd(key=key, stamp=stamp, is_unique=is_unique):
            return is_unique and (key is not None or stamp is not None)
        case OzariUpdate():
            return True


def _has_word(run: OpenRun) -> bool:
    """Say whether the remedy rests on the user's word about the target. A key in Ozari needs none: no row means no record."""
    target = run.plan.target
    return isinstance(target, CanbusAdd) or (isinstance(target, OzariInsert) and target.stamp is not None)


async def prepare_remedy(run: OpenRun, assembly: Assembly, stop: Stop, world: Runtime) -> None:
    """Choose the remedy and set it up, with the proof that it needs."""
    policy = run.plan.options.ambiguous
    reconciler = assembly.reconciler
    if policy == "resend" and not isinstance(run.plan.target, OzariUpdate):
        reconciler.is_blind = True
    elif policy != "hold" and can_ask(run):
        reconciler.remedy = await _remedy(run, assembly, stop, world)
    if reconciler.remedy is None or not _has_word(run) or run.notes.is_proved:
        reconciler.is_ready.set()
    else:
        _demand_proof(run, assembly, stop, world)
    if run.is_resumed and reconciler.remedy is not None and getattr(run.plan.target, "stamp", None):
        intake = assembly.intake
        is_asking = isinstance(reconciler.remedy, Asking)
        crash_bound = intake.limits.crash_bound
        intake.suspicion = (
            AskFirst(assembly.parts, reconciler, reconciler.remedy, intake, crash_bound)
            if is_asking
            else SendInDoubt(assembly.parts, intake, crash_bound)
        )


async def _remedy(run: OpenRun, assembly: Assembly, stop: Stop, world: Runtime) -> Remedy | None:
    target, credentials = run.plan.target, run.plan.credentials
    if isinstance(target, CanbusAdd):
        return Repeating(run.plan.options.max_records, is_in_doubt=True)
    endpoint = await _ask_capability(run, target, assembly.parts.channel, stop, world)
    if endpoint is None:
        return None
    if isinstance(target, OzariUpdate):
        return AskingUpdates(build_update_lookup(target, credentials, endpoint), assembly.parts.channel)
    lookup = build_lookup(target, credentials, endpoint, _floor(run, endpoint))
    if lookup is None:
        return None
    return Asking(lookup, assembly.parts.channel, run.log, is_exact=target.stamp is not None)


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


async def _ask_capability(
    run: OpenRun, target: OzariInsert | OzariUpdate, channel: Sender, stop: Stop, world: Runtime
) -> QueryEndpoint | NoQueryEndpoint | None:
    """Ask patiently whether the table can be queried. None: the run was stopped meanwhile. Errors: RunStopped."""
    question = build_capability(target, run.plan.credentials)
    began = world.clock()
    while not stop.is_requested:
        reply = await channel.send(question.encode(), is_record=False)
        answer = Retry(reply.error) if isinstance(reply, NoResponse) else question.read(reply)
        if isinstance(answer, Halt):
            stop.halt(answer)
        elif not isinstance(answer, Retry):
            channel.was_answered(is_useful=True)
            return answer
        elif world.clock() - began >= run.plan.options.patience_seconds:
            hint = "see whether the target is up; go on with `loader resume RUN`"
            raise RunStopped("patience", f"the table cannot be asked: {answer.reason}", hint)
        else:
            await world.sleep(ASK_AGAIN_SECONDS)
    return None


def _demand_proof(run: OpenRun, assembly: Assembly, stop: Stop, world: Runtime) -> None:
    """Send one record at a time until the word is proved on the first created one.

    Before each one the log is told which others have not left: a crash before the proof leaves one record in doubt, not a
    window of them, and the others can prove the word later.
    """
    work, delivery, reconciler = assembly.parts.work, assembly.delivery, assembly.reconciler

    async def note_unsent() -> None:
        assembly.intake.reopening.note_unsent()
        await run.log.sync()

    async def proved() -> None:
        run.notes.is_proved = True
        run.notes.set_unsent(())
        await run.log.sync()
        delivery.prove = delivery.before_alone = reconciler.on_found = None
        reconciler.is_unproved = False
        reconciler.is_ready.set()
        work.set_solo(is_solo=False)

    work.set_solo(is_solo=True)
    delivery.before_alone = note_unsent
    remedy = reconciler.remedy
    adding = assembly.parts.target
    if isinstance(adding, TakesBack):
        settle_seconds = run.plan.options.settle_seconds
        delivery.prove = UniqueProof(adding, assembly.parts.channel, stop, world, proved, settle_seconds).prove
    elif remedy is not None:
        reconciler.on_found = proved
        delivery.prove = StampProof(remedy, stop, world, proved).prove
