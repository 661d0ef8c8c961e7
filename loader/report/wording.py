"""How numbers, sizes, times and places are written for people. Pure."""

from __future__ import annotations

import shlex
import string

from loader.redaction import escape

KIB = 1024
_PLAIN = frozenset(string.ascii_letters + string.digits + " ./_-+=,:@%~^")


def place(target: str, table: str | None, identity: str | None) -> str:
    """Say what goes where: `ozari insert into tcity of acme`, `canbus add into acme`."""
    names = [escape(name) for name in (table, identity) if name]
    return f"{target} into {' of '.join(names)}" if names else target


def quoted(path: str) -> str:
    r"""Write a path as it is typed into a shell; what cannot be shown as `$'caf\xe9'`."""
    if path.isprintable():
        return shlex.quote(path)
    data = path.encode("utf-8", "surrogateescape")
    return "$'" + "".join(chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in data) + "'"


def count(number: int) -> str:
    """Write a count with separators: `171,075`."""
    return f"{number:,}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun: `1 record`, `2 records`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: float) -> str:
    """Write a number of bytes: `512 B`, `45.9 MiB`."""
    if number < KIB:
        return f"{number:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        number /= KIB
        if number < KIB:
            return f"{number:.1f} {unit}"
    return f"{number / KIB:,.1f} TiB"


def rate(per_second: float) -> str:
    """Write a rate without its unit: `2,795`, `0.5`."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def seconds(number: float) -> str:
    """Write a time as people say it: `0.4 s`, `61 s`, `4 min 05 s`, `2 h 10 min`."""
    if number < 10:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def warned_hint(hint: str, done: int) -> str:
    """Say in a hint that leads to a new run how many records that would send once more; `done`: those that may exist already."""
    if not done or not any(words in hint for words in ("--run NEW", "begin a new run")):
        return hint
    have = "has" if done == 1 else "have"
    return f"{hint.rstrip('.')}. A new run sends {counted(done, 'record')} again that {have} been sent already"
