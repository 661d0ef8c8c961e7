"""Whether many lines are good objects, said of all of them at once. Pure, but for what a look learns of lines before.

A look must never take a line that `mapping.parse` refuses; where it cannot tell, `parse` is asked line by line, which is
slower and never wrong.

How it is quicker than decoding each line with orjson: rows of one table have the same members. A decoder that knows their names
(msgspec's, of a type made for them) builds no dictionary and no key: 0.31 us instead of 0.56 for 250 bytes (measured). It is
as strict, but for integers past the largest double, which orjson refuses; they are looked for beforehand. That each name is
there and no other is, also settles what else must be known: no line has a member that the loader writes itself, and where all
lines together have no more colons than members, no key stands twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import orjson

from loader.reading.parsing import MAX_DEPTH

_first, _last = itemgetter(0), itemgetter(-2)  # the last byte of a line is its LF
_COLON, _BRACKET, _BACKSLASH, _CURLY, _CLOSING, _ZERO = map(ord, ":[\\{}0")
_ESCAPE, _ESCAPED_COLON = b"\\u", b"\\u003"
_END_OF_KEY, _SPACED_COLONS = b'":', (b" :", b"\t:", b"\r:")
_LONG_DIGITS, _STRIDE = 309, 24
"""The digits of the smallest integer that no double can hold. Every 24th byte is looked at."""
_ONLY_DIGITS = bytes(_ZERO if byte in b"0123456789" else 0 for byte in range(256))
_MANY_DIGITS = b"0" * (_LONG_DIGITS // _STRIDE)
_MAX_NAMES = 64
"""The decoder looks for a name by comparing it with each, from the one behind the last that it found."""
_MAX_PAUSE = 1024
"""Parts of a source."""


class Layout(NamedTuple):
    """The names of the members that lines have in common, in their usual order, and what decodes a line with these alone."""

    names: tuple[str, ...]
    decode: Callable[[bytes], object]

    def fits(self, lines: Iterable[bytes]) -> bool:
        """Say whether each line is a good object with these members, whatever their order, one of them perhaps twice."""
        try:
            # No loop in Python, and each object is freed while it is in the processor's caches.
            deque(map(self.decode, lines), 0)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False
        return True


class BulkCheck:
    """Looks at the lines of one source, part by part."""

    def __init__(self, absent: Collection[str], are_good: Callable[[Collection[str]], bool] | None = None) -> None:
        """`absent`, `are_good`: see `columns.Splice`."""
        self._absent = absent
        self._are_good = are_good
        self._layout: Layout | None = None
        self._failures = 0  # to learn a layout, in a row
        self._pause = 0  # so many parts go by before it is tried again

    def all_good(self, lines: Sequence[bytes], raw: bytes) -> bool:
        """Say whether each line is an object that `parse` takes, begins and ends with its braces, and has good names only.

        False only means: look at each line. `lines` are some, each with its LF; `raw` is the lines joined.
        """
        if set(map(_first, lines)) != {_CURLY} or set(map(_last, lines)) != {_CLOSING}:
            return False
        layout = None if _may_hold_long_digits(raw) else self._layout_of(lines)
        if layout is None:
            return self._are_good is None and _are_plain_objects(lines, raw, self._absent)
        if any(name in layout.names for name in self._absent):
            return False
        if self._are_good is not None and not self._are_good(layout.names):
            return False
        return _have_single_keys(lines, raw, len(layout.names) * len(lines))

    def _layout_of(self, lines: Sequence[bytes]) -> Layout | None:
        """Return the layout that all lines have; a new one is learned from the first line. None: they have none."""
        layout = self._layout
        if layout is not None and layout.fits(lines):
            return layout
        if self._pause:
            self._pause -= 1
            return None
        names = _names_of(lines[0])
        if layout is None or layout.names != names:
            layout = _layout(names)
            if layout is not None and layout.fits(lines):
                self._layout, self._failures = layout, 0
                return layout
        self._failures += 1
        self._pause = min(2**self._failures, _MAX_PAUSE)
        return None


def _names_of(line: bytes) -> tuple[str, ...]:
    try:
        return tuple(orjson.loads(line))
    except ValueError:
        return ()


def _layout(names: tuple[str, ...]) -> Layout | None:
    """Make the layout of these names, unless there are too many or one is not written as it is in JSON."""
    if not 0 < len(names) <= _MAX_NAMES:
        return None
    renamed = {f"f{at}": name for at, name in enumerate(names)}
    fields = [(field, Any) for field in renamed]
    try:
        row = msgspec.defstruct("Row", fields, rename=renamed, forbid_unknown_fields=True, gc=False)
    except ValueError:  # a quote, a backslash or a control character in a name
        return None
    return Layout(names, msgspec.json.Decoder(row).decode)


def _may_hold_long_digits(raw: bytes) -> bool:
    """Say whether so many digits may follow each other that they could be too large a number; mostly wrong where it says yes."""
    return _MANY_DIGITS in raw[::_STRIDE].translate(_ONLY_DIGITS)


def _are_plain_objects(lines: Sequence[bytes], raw: bytes, absent: Collection[str]) -> bool:
    """See `all_good`; lines of any layout that begin and end with a brace.

    The sums are of terms that can be off in one direction only, so where they agree each line agrees.
    """
    try:
        objects = map(orjson.loads, lines)
        # A single byte is found thirty times as fast as two.
        if any(map(partial(_may_hold, raw), absent)) or (_BACKSLASH in raw and _ESCAPE in raw):
            objects = map(partial(_with_none_of, absent), objects)
        sizes = list(map(len, objects))
    except ValueError:
        return False
    return all(sizes) and _have_single_keys(lines, raw, sum(sizes))


def _may_hold(raw: bytes, name: str) -> bool:
    """Say whether a name stands in raw lines, in a key or elsewhere. A byte of it that is nowhere answers that soonest."""
    text = name.encode()
    return all(byte in raw for byte in text) and text in raw


def _with_none_of(names: Collection[str], fields: Any) -> Any:
    if any(name in fields for name in names):
        raise ValueError("a line has a member of its own where the loader writes one")
    return fields


def _have_single_keys(lines: Sequence[bytes], raw: bytes, members: int) -> bool:
    """Say whether no object has a key twice, and none nests too deep. `members`: the lines' own, a twin counted once.

    A line has a colon for each member, twins and those of objects inside too, and maybe more in its strings; so where all lines
    together have no more colons than `members`, there is nothing but those. The same holds for the colons that stand
    right behind a quote, where nothing else hides a member's colon: that counts out what stands within strings (12:30).
    """
    has_few_colons = raw.count(_COLON) == members
    if has_few_colons and _BRACKET not in raw:
        return True  # no arrays, and no object inside that has a member: nothing nests deeper than 2
    return _are_shallow(lines, raw) and (has_few_colons or _have_few_ends(raw, members) or _have_no_twins(lines, raw))


def _are_shallow(lines: Sequence[bytes], raw: bytes) -> bool:
    if _BRACKET not in raw and raw.count(_CURLY) == len(lines):
        return True
    return max(line.count(_CURLY) + line.count(_BRACKET) for line in lines) <= MAX_DEPTH


def _have_few_ends(raw: bytes, members: int) -> bool:
    # Without a backslash each quote begins or ends a string; one with a colon behind it ends a key, or begins such as ":-)".
    if _BACKSLASH in raw or any(spaced in raw for spaced in _SPACED_COLONS):
        return False
    return raw.count(_END_OF_KEY) == members


def _have_no_twins(lines: Sequence[bytes], raw: bytes) -> bool:
    """Say whether no object has a key twice: what is encoded again has lost such a member's colon."""
    if _ESCAPED_COLON in raw:
        return False
    try:
        objects = list(map(orjson.loads, lines))
    except ValueError:  # never seen: the layout's decoder would have to be less strict than is known
        return False
    return orjson.dumps(objects).count(_COLON) == raw.count(_COLON)
