"""Opening a run: the directory, its lock, run.json, the sources with their fingerprints, and the checkpoint log.

Everything that can be refused without asking the target is refused here: another process holds the run, the run was
made for something else, the source has changed, the log is damaged. The log is created before run.json, and holds the
same facts, so a crash between the two loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from loader.checkpoint import CheckpointLog, Tools, read_run_directory, read_state
from loader.checkpoint.notes import Notes
from loader.errors import LogError, LogLocked, LogStorageFailed, RunMismatch, SourceError, UsageError
from loader.reading.beginning import check_beginning, check_name
from loader.reading.fingerprint import check, identify, verify_ranges
from loader.reading.readers import Reader
from loader.reading.source import CHANGED_HINT, FileSource
from loader.reading.spool import Spool
from loader.reading.stdin import StandardInput
from loader.report.wording import warned_hint
from loader.runs import directory as run_directory
from loader.runs.directory import SPOOL_FILE, STANDARD_INPUT, RunInfo, SourceInfo
from loader.runs.leftovers import RUN_FILE
from loader.runs.matching import check_header, check_same
from loader.runs.overlap import check_apart
from loader.runs.ownership import check_own
from loader.runs.plan import LoadPlan
from loader.runs.run_lock import locked_run
from loader.runtime import Runtime
from loader.settings import asks_first
from loader.targets.stamp_form import EARLIER_FORM, form_for
from loader.urls import origin


@dataclass(slots=True)
class OpenRun:
    """A run that this process holds. `has_grown`: a source may hold more than the run has read.

    `cautions`: what the user should know of sources that are read for the first time.
    """

    plan: LoadPlan
    info: RunInfo
    log: CheckpointLog
    readers: list[Reader]
    is_resumed: bool
    has_grown: bool = False
    cautions: tuple[str, ...] = ()

    @property
    def notes(self) -> Notes:
        """Return what earlier executions have noted, and this one may."""
        return Notes.of(self.log)


@contextlib.asynccontextmanager
async def open_run(plan: LoadPlan, runtime: Runtime, tools: Tools | None = None) -> AsyncIterator[OpenRun]:
    """Open or create the run of a plan, and hold it; its log stands on `tools`. Errors: RunMismatch, SourceError, LogError."""
    directory = plan.run_directory
    sources = tuple(_described(path, directory) for path in plan.sources)  # refused before anything is created
    check_own(directory)
    cautions = () if run_directory.exists(directory) else check_beginnings(plan.sources)
    with contextlib.ExitStack() as held:
        with _creation_lock(directory), _counted_hints(directory):
            run = await _enter(plan, sources, runtime, tools, held)
        run.cautions = cautions
        try:
            run.readers.extend(_readers(run))
            yield run
        finally:
            for reader in run.readers:
                reader.close()
            await run.log.close()


async def _enter(
    plan: LoadPlan, sources: tuple[SourceInfo, ...], runtime: Runtime, tools: Tools | None, held: contextlib.ExitStack
) -> OpenRun:
    directory = plan.run_directory
    warnings: list[str] = []
    check_own(directory)
    recorded = run_directory.read(directory) if run_directory.exists(directory) else None
    asked = _asked(plan, sources, recorded.run if recorded else runtime.new_run_id(), runtime)
    if recorded:
        check_same(recorded, asked)
    if tools is None or tools.storage is None:  # a simulated disk has locks of its own
        held.enter_context(locked_run(asked.run, directory, warnings.append))
    if recorded is None:
        check_apart(plan, asked)
        run_directory.clear_unborn(directory)
        log = await CheckpointLog.create(
            directory, asked.run, msgspec.json.decode(run_directory.encode(asked)), version=asked.loader, tools=tools
        )
        run_directory.write(directory, asked)
        log.state.warnings.extend(warnings)
        return OpenRun(plan, asked, log, [], is_resumed=False)
    log = await CheckpointLog.open(
        directory,
        recorded.run,
        msgspec.json.decode(run_directory.encode(recorded)),
        may_be_shorter=asks_first(plan.target, plan.options),
        version=asked.loader,
        tools=tools,
    )
    try:
        log.state.warnings.extend(warnings)
        check_header(recorded, log.state.header.bound)
        sources, has_grown = _same_sources(directory, recorded, asked)
        info = replace(recorded, sources=sources)
        if has_grown and info != recorded:
            # Before run.json knows the longer source: after a crash in between it would look like the one that was loaded whole.
            Notes.of(log).end = None
            await log.sync()
    except BaseException:
        await log.close()
        raise
    if info != recorded or not (directory / RUN_FILE).exists():
        run_directory.write(directory, info)
    return OpenRun(plan, info, log, [], is_resumed=True, has_grown=has_grown)


def _asked(plan: LoadPlan, sources: tuple[SourceInfo, ...], run_id: str, runtime: Runtime) -> RunInfo:
    from loader import __version__

    return RunInfo(
        run=run_id,
        target=plan.kind.name,
        origin=origin(plan.base_url),
        identity=None,
        settings=plan.target,
        sources=sources,
        options=plan.options,
        loader=__version__,
        created=runtime.wall_time(),
        stamp_form=EARLIER_FORM if plan.target.stamp is None else form_for(len(sources)),
    )


def check_beginnings(sources: Iterable[str]) -> tuple[str, ...]:
    """Refuse files that are not NDJSON; return what should be known of the others. Errors: SourceError."""
    return tuple(text for path in sources if path != STANDARD_INPUT for text in check_beginning(Path(path)))


def _described(path: str, directory: Path) -> SourceInfo:
    if path != STANDARD_INPUT:
        check_name(path)
    info = run_directory.describe_source(path, directory)
    return info if path == STANDARD_INPUT else replace(info, fingerprint=identify(Path(path)))


def _same_sources(directory: Path, recorded: RunInfo, asked: RunInfo) -> tuple[tuple[SourceInfo, ...], bool]:
    """Compare the sources' content. Errors: SourceError where it is not what the run has read."""
    has_grown = False
    for index, (before, now) in enumerate(zip(recorded.sources, asked.sources, strict=True)):
        if before.fingerprint is None or now.fingerprint is None:
            has_grown = True
            continue
        comparison = check(before.fingerprint, now.fingerprint)
        if comparison == "changed":
            raise SourceError(f"{now.path} is not what it was when the run began", CHANGED_HINT)
        if comparison == "grown":
            has_grown = True
            with read_run_directory(directory) as run:
                windows = [window for window in run.windows() if window.source == index]
                verify_ranges(
                    Path(now.path), ((w.offset, w.end_offset, w.crc, w.first) for w in windows), asked.options
                )
    return asked.sources, has_grown


def check_unchanged(run: OpenRun, reader: Reader) -> None:
    """See at a source's end that it is what was read: it may have been written anew meanwhile. Errors: SourceError."""
    if reader.has_changed():
        with read_run_directory(run.plan.run_directory) as written:
            windows = [window for window in written.windows() if window.source == reader.source]
            path = Path(run.plan.sources[reader.source])
            verify_ranges(path, ((w.offset, w.end_offset, w.crc, w.first) for w in windows), run.plan.options)


def _readers(run: OpenRun) -> Iterator[Reader]:
    for index, path in enumerate(run.plan.sources):
        if path == STANDARD_INPUT:
            yield _pipe_reader(run, index)
        else:
            yield Reader(index, FileSource(Path(path)), run.plan.options)


def _pipe_reader(run: OpenRun, source: int) -> Reader:
    options = run.plan.options
    if not options.is_kept:
        if run.is_resumed:
            raise UsageError(
                "the lines of this run were not kept, so it cannot be resumed",
                "load into another run directory: --run NEW, without --no-keep",
            )
        return Reader(source, StandardInput(None), options)
    spool = Spool(run.plan.run_directory / SPOOL_FILE, at_least=run.log.state.last_intent_end(0)[1])
    return Reader(source, StandardInput(spool) if run.plan.reads_pipe else spool, options, spool)


@contextlib.contextmanager
def _counted_hints(directory: Path) -> Iterator[None]:
    """Where an error's hint leads to a new run, say how many records that would send once more."""
    try:
        yield
    except (SourceError, RunMismatch) as error:
        with contextlib.suppress(LogError, OSError):
            counts = read_state(directory).counts
            error.hint = warned_hint(error.hint, counts.created + counts.updated + counts.ambiguous)
        raise


@contextlib.contextmanager
def _creation_lock(directory: Path) -> Iterator[None]:
    """Let one process at a time create or open the run; the log's own lock holds it afterwards."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LogStorageFailed(
            f"the run directory {directory} cannot be used: {error.strerror}", "name another one: --run DIR"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LogLocked(
            f"another process is opening {directory}", "wait for it to end, or look for it with `ps`"
        ) from None
    finally:
        os.close(descriptor)
