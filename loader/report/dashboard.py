"""The display for a terminal, drawn with rich; only the command line imports it, and only if it is shown.

It draws when a sample arrives and has no thread of its own. Foreign text enters as plain text, never as markup.
"""

from __future__ import annotations

import contextlib
from typing import IO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loader.redaction import escape
from loader.report import progress, wording
from loader.report.report import Report, Sample, Start

BAR_WIDTH = 32


class _Console(Console):
    """A console that a broken pipe costs the display alone: rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        """Go on."""


class Dashboard:
    """Shows the last sample in place, with warnings scrolling above it."""

    def __init__(self, stream: IO[str], *, is_verbose: bool = False) -> None:
        self._console = _Console(file=stream, highlight=False)
        self._live: Live | None = None
        self._done = "created"
        self._is_started = self._is_over = False
        self._warnings = progress.Warnings(None if is_verbose else progress.MAX_WARNINGS)

    def started(self, start: Start) -> None:
        self._done = progress.done_word(start)
        with contextlib.suppress(OSError, ValueError):
            self._console.print(Text(progress.start_text(start)))
        self._is_started = True
        self._open()

    def _open(self) -> None:
        if self._live is not None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._live = Live(
                Text("first request ..."),
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)

    def sample(self, sample: Sample) -> None:
        if not self._is_started and sample.waiting_reason and not self._is_over:
            self._open()
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                self._live.update(draw(sample, self._done), refresh=True)

    def warned(self, text: str) -> None:
        if line := self._warnings.admit(text):
            with contextlib.suppress(OSError, ValueError):
                self._console.print(Text(line, style="yellow"))

    def ended(self, report: Report) -> None:  # noqa: ARG002 - the report itself follows on standard output
        self.close()

    def close(self) -> None:
        """Give the terminal back, also after an error."""
        self._is_over = True
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(OSError, ValueError):
                live.stop()


def draw(sample: Sample, good: str) -> Group:
    """Lay a sample out in a few lines."""
    head = Table.grid(padding=(0, 1))
    left = f"{wording.seconds(sample.eta_seconds)} left" if sample.eta_seconds is not None else ""
    bar = (
        ProgressBar(total=sample.total_bytes, completed=sample.bytes_read, width=BAR_WIDTH)
        if sample.total_bytes
        else ""
    )
    head.add_row(bar, progress.bytes_text(sample), left)
    done, rejected, ambiguous = progress.counts_text(sample, good)
    counts = Text.assemble(
        (done, "green"),
        ", ",
        (rejected, "red" if sample.counts.rejected else ""),
        ", ",
        (ambiguous, "yellow" if sample.counts.ambiguous else ""),
    )
    records, requests, *limited = progress.rates_text(sample)
    rates = Text(", ".join([records, requests, f"{sample.in_flight} in flight"]))
    lines: list[Table | Text] = [head, counts, rates, *(Text(text, style="dim") for text in limited)]
    if sample.waiting_reason:
        waiting = Text(f"waiting: {escape(sample.waiting_reason, None)}", style="yellow", overflow="fold")
        return Group(*_one_line_each(lines), waiting)
    return Group(*_one_line_each(lines))


def _one_line_each(lines: list[Table | Text]) -> list[Table | Text]:
    for line in lines[1:]:
        if isinstance(line, Text):
            line.no_wrap, line.overflow = True, "ellipsis"
    return lines
