"""One Canbus app's rows: create, edit, delete, read. Elements come in order, and so do their results.

Written from apis.md 2.3 to 2.7. Atomic or independent, and whether an element sees those before it, are switches ([N]). How
results look on the wire is `canbus`' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loader.emulator.canbus.items import DUPLICATE as DUPLICATE_CODE
from loader.emulator.canbus.items import Items, Uniques
from loader.emulator.lag import Lag
from loader.emulator.switches import CanbusApp, CanbusSwitches
from loader.emulator.tables import Row, Tables, TooManyColumns

KEY = "_number"
"""The record number; a record's id is not its number ([D] CB-upd)."""
CREATED = "0"
DISABLED_USER = "32"


class Result(NamedTuple):
    """How one element ended."""

    code: str
    id: str | None = None

    @property
    def is_good(self) -> bool:
        """Say whether the element was carried out."""
        return self.code == CREATED


class AppRows:
    """One app: its table, its item rules and the values its unique items hold."""

    def __init__(self, app: CanbusApp, switches: CanbusSwitches, tables: Tables) -> None:
        self.app = app
        self.table = tables.open(app.app_id, KEY)
        self.items = Items(app, switches)
        self._switches = switches
        self._users = frozenset(switches.users)
        self._uniques = Uniques(self.items, app, switches)
        self._lag = Lag(switches.read_delay_seconds, self.table.last_id)
        self.table.add_columns(["_id", "System_Create_User", *app.items])
        if self._uniques.items:
            for row in self.table.select("1", ()):
                self._uniques.add(row.record)

    # --- writing ----------------------------------------------------------------------------------------------------

    def add(self, elements: Sequence[Mapping[str, Any]], now: float) -> list[Result]:
        """Create records."""
        if self._switches.is_atomic or (self._uniques.items and not self._switches.sees_same_request):
            return self._add_checked_first(elements, now)
        results = []
        for element in elements:
            fields = self._read_new(element)
            results.append(Result(fields) if isinstance(fields, str) else self._create(fields, now))
        self._lag.add(now, self.table.last_id)
        return results

    def _add_checked_first(self, elements: Sequence[Mapping[str, Any]], now: float) -> list[Result]:
        """Check all elements against the rows as they are, then create: if atomic, all or none."""
        read: list[dict[str, Any] | str] = []
        noted = []
        for element in elements:
            fields = self._read_new(element)
            read.append(fields)
            if self._switches.sees_same_request and not isinstance(fields, str):
                self._uniques.add(fields)
                noted.append(fields)
        for fields in noted:
            self._uniques.remove(fields)
        if self._switches.is_atomic and any(isinstance(fields, str) for fields in read):
            return [Result(fields if isinstance(fields, str) else self._switches.neighbour_code) for fields in read]
        results = [Result(fields) if isinstance(fields, str) else self._create(fields, now) for fields in read]
        self._lag.add(now, self.table.last_id)
        return results

    def _read_new(self, element: Mapping[str, Any]) -> dict[str, Any] | str:
        user = element.get("System_Create_User")
        refusal = self._refuse_user(user)
        if refusal is not None:
            return refusal
        fields = self.items.read(element)
        if isinstance(fields, str):
            return fields
        if self._uniques.items and self._uniques.collides(fields):
            return DUPLICATE_CODE
        fields["System_Create_User"] = user
        return fields

    def _create(self, fields: dict[str, Any], now: float) -> Result:
        # 24 hexadecimal digits that begin with the second of creation, as the two examples do ([E], [I] apis.md 2.1).
        record_id = f"{int(now) & 0xFFFFFFFF:08x}{self.table.last_id + 1:016x}"
        fields["_id"] = record_id
        try:
            self.table.insert(fields)
        except TooManyColumns:
            return Result(self._switches.unknown_item_code)
        if self._uniques.items:
            self._uniques.add(fields)
        return Result(CREATED, record_id)

    def edit(self, elements: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Change records. Items that an element does not name stay as they are; a sub-table is replaced ([U], chosen)."""
        rows = self._rows_by_id(elements)
        read = [self._read_edit(element, rows.get(str(element.get("_id")))) for element in elements]
        if self._switches.is_atomic and any(isinstance(fields, str) for fields in read):
            return [Result(fields if isinstance(fields, str) else self._switches.neighbour_code) for fields in read]
        return [self._edit_one(element, fields) for element, fields in zip(elements, read, strict=True)]

    def _edit_one(self, element: Mapping[str, Any], fields: dict[str, Any] | str) -> Result:
        if isinstance(fields, str):
            return Result(fields)
        # Read again: an element before this one may have changed the same record, or taken its unique value.
        row = self._rows_by_id([element])[str(element["_id"])]
        if self._uniques.items and self._uniques.collides(fields, row.record):
            return Result(DUPLICATE_CODE)
        self._uniques.remove(row.record)
        self._uniques.add({**row.record, **fields})
        try:
            self.table.update([row.id], fields)
        except TooManyColumns:
            return Result(self._switches.unknown_item_code)
        return Result(CREATED, row.record["_id"])

    def _read_edit(self, element: Mapping[str, Any], row: Row | None) -> dict[str, Any] | str:
        refusal = self._refuse_user(element.get("System_Update_User"))
        if refusal is not None:
            return refusal
        if row is None:
            return self._switches.not_found_code
        fields = self.items.read(element, is_edit=True)
        if not isinstance(fields, str) and self._uniques.collides(fields, row.record):
            return DUPLICATE_CODE
        return fields if isinstance(fields, str) else {**fields, "System_Update_User": element["System_Update_User"]}

    def delete(self, elements: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Delete records."""
        rows = self._rows_by_id(elements)
        codes = [self._read_delete(element, rows) for element in elements]
        if self._switches.is_atomic and any(code != CREATED for code in codes):
            return [Result(code if code != CREATED else self._switches.neighbour_code) for code in codes]
        results = []
        for element, code in zip(elements, codes, strict=True):
            row = rows.pop(str(element.get("_id")), None) if code == CREATED else None
            if row is not None:
                self.table.delete([row.id])
                self._uniques.remove(row.record)
            found = Result(CREATED, row.record["_id"]) if row is not None else None
            results.append(found or Result(self._switches.not_found_code if code == CREATED else code))
        return results

    def _read_delete(self, element: Mapping[str, Any], rows: Mapping[str, Row]) -> str:
        refusal = self._refuse_user(element.get("System_Delete_User"))
        if refusal is not None:
            return refusal
        return CREATED if str(element.get("_id")) in rows else self._switches.not_found_code

    def _refuse_user(self, user: object) -> str | None:
        if isinstance(user, str) and (user in self._users or (self._switches.any_user and user)):
            return None
        return self._switches.missing_user_code if user is None or user == "" else DISABLED_USER

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str], now: float) -> list[Row | None]:
        """Read records by their ids, one entry for each ([D] CB-get)."""
        rows = self._rows_by_id([{"_id": one} for one in ids])
        newest = self._newest_visible(now)
        return [row if row is not None and row.id <= newest else None for row in map(rows.get, ids)]

    def walk(self, filter_id: str | None, start: int, number: int, now: float) -> tuple[int, list[Row]]:
        """Read a page of the list screen: how many records there are, and the page."""
        saved = self.app.filters.get(filter_id) if filter_id is not None else None
        where, values, order = [f'"{KEY}" <= ?'], [self._newest_visible(now)], f'"{KEY}" DESC'
        for item, value in saved.conditions.items() if saved is not None else ():
            where.append(f"{self.table.sql_name(item) or 'NULL'} = ?")
            values.append(value)  # type: ignore[arg-type]  # marks take text and numbers alike
        if saved is not None:
            direction = "DESC" if saved.is_descending else "ASC"
            column = self.table.sql_name(saved.sort) if saved.sort is not None else None
            order = f'{column or "1"} {direction}, "{KEY}" {direction}' if column else f'"{KEY}" {direction}'
        text = " AND ".join(where)
        rows = self.table.select(text, values, order=order, limit=number, offset=start)
        return self.table.count(text, values), rows

    def item_list(self) -> list[dict[str, str]]:
        """List the items as metadata does: no rule is shown ([N] whether there is a sign of any)."""
        items = {name: (item.name or name, item.type) for name, item in self.app.items.items()}
        seen = {name: (name, "Text") for name in self.table.columns if name != "_id" and not name.startswith("System_")}
        return [{"id": name, "name": shown, "type": kind} for name, (shown, kind) in {**seen, **items}.items()]

    def _rows_by_id(self, elements: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
        ids = [str(element.get("_id")) for element in elements]
        self.table.index("_id")
        rows: dict[str, Row] = {}
        for first in range(0, len(ids), 1000):
            part = ids[first : first + 1000]
            marks = ", ".join("?" * len(part))
            rows.update((row.record["_id"], row) for row in self.table.select(f'"_id" IN ({marks})', part))
        return rows

    def _newest_visible(self, now: float) -> int:
        newest = self._lag.newest(now)
        return self.table.last_id if newest is None else newest
