"""How an execution goes, in numbers: samples for the display, rates of the last seconds, and what the speed is limited by.

It only reads the other parts. Every share is of this execution's wall time.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from loader.delivery.sender import Sender
from loader.rate.throttle import FixedThrottle, Throttle
from loader.report.report import LimitedBy, Sample
from loader.report.waiting import LEAST_SECONDS, Waiting, Waits
from loader.runs.opening import OpenRun
from loader.runtime import Runtime

if TYPE_CHECKING:
    from loader.pipeline.flow import Flow

RATE_WINDOW_SECONDS = 5.0
MACHINE_SHARE = 0.85
"""Of one core's time: past it the process has little left for anything else."""
SOURCE_SHARE = 0.5
CONCURRENCY_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Point:
    """What had been done by a moment."""

    at: float
    requests: int
    records: int
    read_bytes: int


class Telemetry:
    """Takes samples of a running execution."""

    def __init__(
        self,
        run: OpenRun,
        sender: Sender,
        throttle: Throttle,
        concurrency: int,
        runtime: Runtime,
        waits: Waits | None = None,
    ) -> None:
        self._waits = waits or Waits(runtime.clock)
        self._patience_seconds = run.plan.options.patience_seconds
        self._run = run
        self._sender = sender
        self._throttle = throttle
        # A rate below it is the target's, which has refused that one.
        self._asked_rate = throttle.rate_per_second if isinstance(throttle, FixedThrottle) else inf
        self._concurrency = concurrency
        self._runtime = runtime
        self._began = runtime.clock()
        self._cpu_began = runtime.cpu_clock()
        self._settled_before = run.log.state.counts.settled
        self._points: deque[Point] = deque()
        self._busy_seconds = 0.0
        self._ticked_at = self._began

    @property
    def seconds(self) -> float:
        """Return how long this execution has lasted."""
        return self._runtime.clock() - self._began

    @property
    def records_done(self) -> int:
        """Return how many lines got their fate in this execution."""
        return self._run.log.state.counts.settled - self._settled_before

    @property
    def total_bytes(self) -> int | None:
        """Return the size of all sources, where they have one."""
        sizes = [reader.total_bytes for reader in self._run.readers]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def sample(self, flow: Flow | None) -> Sample:
        """Take a sample. `flow`: None as long as no record can be sent."""
        now = self._runtime.clock()
        traffic = self._sender.traffic
        self._busy_seconds += (now - self._ticked_at) * min(1.0, traffic.in_flight / self._concurrency)
        self._ticked_at = now
        read_bytes = sum(reader.read_bytes for reader in self._run.readers)
        point = Point(now, traffic.requests, self.records_done, read_bytes)
        self._points.append(point)
        while now - self._points[0].at > RATE_WINDOW_SECONDS:
            self._points.popleft()
        first = self._points[0]
        elapsed = max(now - first.at, 1e-9)
        bytes_per_second = (point.read_bytes - first.read_bytes) / elapsed
        total = self.total_bytes
        return Sample(
            seconds=now - self._began,
            bytes_read=read_bytes,
            total_bytes=total,
            counts=copy(self._run.log.state.counts),
            in_flight=traffic.in_flight,
            requests=traffic.requests,
            requests_per_second=(point.requests - first.requests) / elapsed,
            records_per_second=(point.records - first.records) / elapsed,
            rate_limit=self._throttle.rate_per_second,
            limited_by=self.limited_by(flow),
            waiting_reason=self.waiting_text(flow),
            eta_seconds=(total - read_bytes) / bytes_per_second if total and bytes_per_second > 0 else None,
        )

    def waiting_text(self, flow: Flow | None) -> str | None:
        """Say what nothing moves for, since when and until when; None: it moves."""
        waiting = self._waits.current or self._wait_of_all() or (None if flow is None else self._wait_of(flow))
        return None if waiting is None else waiting.text(self._runtime.clock(), self._runtime.wall_time())

    def _wait_of_all(self) -> Waiting | None:
        """Return the wait that holds back every record, whoever waits for it."""
        now, breaker = self._runtime.clock(), self._sender.breaker
        if breaker.is_open:
            since = now - breaker.bad_seconds()
            said = f" ({breaker.last_fault})" if breaker.last_fault else ""
            reason = f"the target does not answer well{said}; asking it now and then"
            return Waiting(reason, since, since + self._patience_seconds)
        if self._throttle.opens_at - now >= LEAST_SECONDS:
            return Waiting("the target asks for a pause", None, self._throttle.opens_at)
        return None

    def _wait_of(self, flow: Flow) -> Waiting | None:
        queue, pending = flow.parts.queue, flow.reconciler.pending
        if flow.intake.is_waiting_for_source and not queue.outstanding:
            return Waiting("the source")
        if pending and pending == queue.outstanding:
            noun = "ambiguous record" if pending == 1 else "ambiguous records"
            reason = f"{pending} {noun}, until they can be asked for"
            return Waiting(reason, None, flow.reconciler.next_question_at)
        return None

    def limited_by(self, flow: Flow | None) -> LimitedBy | None:
        """Say what the speed is limited by; None before there is anything to say."""
        seconds = self.seconds
        if seconds <= 0 or not self.records_done:
            return None
        if (self._runtime.cpu_clock() - self._cpu_began) / seconds > MACHINE_SHARE:
            return "machine"
        if self._throttle.limited_by_rate_seconds / seconds > 0.5:
            return "rate" if self._throttle.rate_per_second >= self._asked_rate else "target"
        if flow is not None and flow.intake.waited_seconds / seconds > SOURCE_SHARE:
            return "source"
        return "concurrency" if self._busy_seconds / seconds > CONCURRENCY_SHARE else "target"
