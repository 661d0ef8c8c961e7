"""When it is believed that the log was not shortened: after as many absent lines in a row as an execution may have open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loader.model import Absent, Created, Record, Rejected
from loader.pipeline.shortened_log import AskFirst, SendInDoubt
from loader.reconcile.strategies import Known
from tests.simulation.worlds import run_world

BOUND = 4
REFUSED = Rejected("target", "400", "no")


def line(number: int) -> Record:
    return Record(0, number, 10 * number, b"{}")


class Sending:
    """SendInDoubt, and the outcomes of what it sent."""

    def __init__(self) -> None:
        self.released: list[int] = []
        self.sinks: list[Any] = []
        settlement = SimpleNamespace(add_sink=self.sinks.append)
        parts: Any = SimpleNamespace(settlement=settlement, packer=self)
        self.shortened_log = SendInDoubt(parts, BOUND)

    def release(self, records: list[Record], *, in_doubt: bool) -> None:
        assert in_doubt
        self.released += [record.number for record in records]

    def is_on(self) -> bool:
        return self.shortened_log.is_on

    async def window(self, *numbers: int, is_behind: bool = True) -> None:
        await self.shortened_log.release([line(number) for number in numbers], is_behind=is_behind)

    def ends(self, **outcomes: bool) -> None:
        """Say of each line, as in `l7=True`, whether it was there already."""
        for name, was_there in outcomes.items():
            (sink,) = self.sinks
            sink([line(int(name[1:]))], [Created(None if was_there else 100)])


async def test_windows_of_one_line_end_it_together_only() -> None:
    sending = Sending()
    for number in range(1, 8):
        await sending.window(number)
    sending.ends(l1=False, l2=False, l3=False, l4=True, l5=False, l6=False, l7=False)
    assert sending.is_on(), "line 4 was there, so what an execution left open may reach to line 7"
    await sending.window(8)
    sending.ends(l8=False)
    assert not sending.is_on()
    assert sending.released == list(range(1, 9))


async def test_they_count_in_the_order_of_the_source() -> None:
    sending = Sending()
    await sending.window(1)
    await sending.window(2, 3, 4, 5)
    sending.ends(l2=False, l3=False, l4=False, l5=False)
    assert sending.is_on(), "line 1 has not been answered"
    sending.ends(l1=True)
    assert not sending.is_on()


async def test_what_is_known_to_be_unsent_proves_nothing() -> None:
    sending = Sending()
    await sending.window(1, 2, 3, 4, 5, is_behind=False)
    sending.ends(l1=False, l2=False, l3=False, l4=False, l5=False)
    assert sending.is_on()


@pytest.mark.parametrize(
    ("windows", "there", "refused", "is_on"),
    [
        ([(1,), (2,), (3,)], set(), set(), True),
        ([(1,), (2,), (3,), (4,)], set(), set(), False),
        ([(1, 2, 3), (4,), (5, 6, 7)], {4}, set(), True),
        ([(1, 2, 3), (4,), (5, 6, 7, 8)], {4}, set(), False),
        ([(1, 2, 3, 4), (5,)], {5}, set(), True),
        ([(1, 2, 3), (4, 5, 6), (7, 8)], set(), {2, 3, 4, 5, 6}, True),
        ([(1, 2, 3), (4, 5, 6), (7, 8, 9)], set(), {2, 3, 4, 5, 6}, False),
    ],
)
async def test_asking_first(windows: list[tuple[int, ...]], there: set[int], refused: set[int], is_on: bool) -> None:
    """A line that is refused was settled without a row before as well: it says nothing of how far the run was."""
    sinks: list[Any] = []

    class Target:
        def size_after(self, faults: int) -> int:
            return 200

        async def ask(self, records: list[Record]) -> list[Known | Absent]:
            return [Known(Created(100)) if record.number in there else Absent() for record in records]

    async def found() -> None:
        pass

    def ignore(*_: object) -> None:
        pass

    parts: Any = SimpleNamespace(
        queue=SimpleNamespace(admit=lambda records, _later: records),
        packer=SimpleNamespace(queue=ignore),
        stop=SimpleNamespace(is_requested=False, halt=ignore),
        settlement=SimpleNamespace(conclude=ignore, add_sink=sinks.append),
        reconciler=SimpleNamespace(doubt=ignore),
        claim=SimpleNamespace(found=found),
    )
    shortened_log = AskFirst(parts, Target(), BOUND, word="stamp")  # type: ignore[arg-type]  # as far as it is used
    for window in windows:
        await shortened_log.release([line(number) for number in window])
        queued = [number for number in window if there.isdisjoint(window)]
        for sink in sinks:
            sink(
                [line(number) for number in queued], [REFUSED if number in refused else Created(1) for number in queued]
            )
    assert shortened_log.is_on == is_on


def test_the_world_that_showed_it() -> None:
    """The power fails, then somebody cuts the log; of the lines that were open then, each was a window of its own."""
    assert run_world(132961).wrong == []
