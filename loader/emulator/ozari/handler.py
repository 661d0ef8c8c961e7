"""Ozari's API: a call -> an answer, with the rows written on the way. No socket, no fault, no limit.

Written from apis.md part 1: status codes and error texts are [D] where a page gives them. A call that passes all checks cannot
show in which order they were made, so `ozari_checks` walks through them only when one fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from loader.emulator.columns import DEFAULT_TABLES, OzariTable
from loader.emulator.ozari.checks import Body, Checks, error, read_body
from loader.emulator.ozari.folds import folding
from loader.emulator.ozari.query import Query, QueryError, is_name, read_query
from loader.emulator.ozari.rows import KEY, Sheet
from loader.emulator.switches import OzariSwitches
from loader.emulator.tables import Tables, TooManyColumns
from loader.emulator.values import dumps, loads_exact
from loader.emulator.wire import Answer, Call, Operation, html_page

LANGUAGE_NAMES = {"he": "עברית", "en": "English"}


class Ozari:
    """One company's tables. `clock` gives the time of day in seconds."""

    def __init__(self, switches: OzariSwitches, tables: Tables, clock: Callable[[], float]) -> None:
        self._switches = switches
        self._tables = tables
        self._clock = clock
        tables.execute("PRAGMA case_sensitive_like = ON")
        self._fold = folding(switches.compared_without)
        tables.add_function("folded", self._fold)
        tables.add_function("folded_pattern", folding([fold for fold in switches.compared_without if fold != "blanks"]))
        self._checks = Checks(switches, self._has_table)
        self._authorization = f"Bearer {switches.token}".encode()
        specs = {**DEFAULT_TABLES, **switches.tables}
        self._sheets = {name: Sheet(tables.open(name, KEY), spec, switches, self._fold) for name, spec in specs.items()}
        self._operations: dict[Operation, Callable[[Call], Answer]] = {
            "auth": self._auth,
            "languages": self._languages,
            "tables": self._list_tables,
            "fields": self._fields,
            "insert": self._insert,
            "update": self._patch,
            "bulk": self._patch,
            "query": self._query,
        }

    def handle(self, call: Call) -> Answer:
        """Carry a call out and answer it."""
        limit = self._switches.max_body_bytes
        if limit is not None and len(call.body) > limit:
            return error(413, "request entity too large")
        handler = self._operations.get(call.route.operation)
        return handler(call) if handler is not None else not_found(call)

    # --- reading what the tenant has --------------------------------------------------------------------------------

    def _auth(self, call: Call) -> Answer:
        return self._checks.first_refusal(call, Body(), ("auth",)) or _good({"company": self._switches.company})

    def _languages(self, call: Call) -> Answer:
        languages = [
            {"code": code, "name": LANGUAGE_NAMES.get(code, code), "column": f"label_{code}"}
            for code in self._switches.languages
        ]
        return self._checks.first_refusal(call, Body(), ("auth",)) or _good({"languages": languages})

    def _list_tables(self, call: Call) -> Answer:
        language = self._language(call)
        tables = [
            {"name": name, "label": sheet.spec.labels.get(language) or sheet.spec.label or name}
            for name, sheet in self._sheets.items()
        ]
        return self._checks.first_refusal(call, Body(), ("auth",)) or _good({"tables": tables})

    def _fields(self, call: Call) -> Answer:
        refusal = self._checks.first_refusal(call, Body(), ("auth", "table_name", "table"))
        if refusal is not None:
            return refusal
        fields = [
            {
                "name": field.name,
                "label": field.label or field.name,
                "order": index if field.order is None else field.order,
            }
            for index, field in enumerate(self._sheets[call.route.table].spec.fields, start=1)
            if field.is_visible
        ]
        return _good({"table": call.route.table, "fields": sorted(fields, key=lambda field: int(str(field["order"])))})

    def _language(self, call: Call) -> str:
        asked = parse_qs(call.query).get("lang", ["he"])[0]
        return asked if asked in self._switches.languages else "he"

    # --- writing ----------------------------------------------------------------------------------------------------

    def _insert(self, call: Call) -> Answer:
        body = read_body(call.body)
        sheet = self._sheets.get(call.route.table)
        is_good = (
            sheet is not None
            and call.headers.get(b"authorization") == self._authorization
            and isinstance(body.fields, dict)
            and body.fields
            # Columns that exist passed the name check when they first came.
            and sheet.table.columns.keys() >= body.fields.keys()
        )
        if not is_good:
            refusal = self._checks.first_refusal(
                call, body, ("auth", "table_name", "body", "fields", "primary_key", "table")
            )
            if refusal is not None:
                return refusal._replace(records=1)
        return self._create(self._sheet(call.route.table), body)

    def _create(self, sheet: Sheet, body: Body) -> Answer:
        refusal = self._data_refusal(sheet, body.fields)
        if refusal is not None:
            return refusal._replace(records=1)
        try:
            row_id = sheet.insert(body.fields, self._clock())
        except TooManyColumns:
            return error(500, "Too many columns")._replace(records=1)
        shown = b"%d" % row_id if self._switches.inserted_id == "number" else b"null"
        answer = b'{"success":true,"table":"%b","insertedId":%b,"fields":%b}'
        text = answer % (sheet.table.name.encode(), shown, body.raw_fields)
        return Answer(self._switches.insert_status, text, 1, (row_id,))

    def _patch(self, call: Call) -> Answer:
        body = read_body(call.body)
        refusal = self._checks.first_refusal(
            call, body, ("auth", "table_name", "body", "fields", "primary_key", "table")
        )
        if refusal is not None:
            return refusal._replace(records=1)
        sheet = self._sheet(call.route.table)
        for name in body.filters if not sheet.is_open else ():
            if not sheet.has_column(name):
                return error(500, f"Unknown column '{name}' in 'where clause'")._replace(records=1)
        return (self._update_one if call.route.operation == "update" else self._update_many)(sheet, body)._replace(
            records=1
        )

    def _update_one(self, sheet: Sheet, body: Body) -> Answer:
        rows = sheet.find(body.filters)
        if not rows:
            return error(404, "No records match the given filters", matched=0)
        if len(rows) > 1:
            text = "Multiple records match the given filters. Use /records/bulk for multi-update."
            return error(409, text, matched=len(rows))
        refusal = self._data_refusal(sheet, body.fields, rows[0])
        if refusal is not None:
            return refusal
        updated = sheet.update(rows, body.fields, self._clock())
        answer = b'{"success":true,"table":"%b","matched":1,"updated":%d,"fields":%b}'
        return Answer(200, answer % (sheet.table.name.encode(), updated, body.raw_fields))

    def _update_many(self, sheet: Sheet, body: Body) -> Answer:
        rows = sheet.find(body.filters)
        for row in rows:
            refusal = self._data_refusal(sheet, body.fields, row)
            if refusal is not None:
                return refusal
        return _good({"table": sheet.table.name, "updated": sheet.update(rows, body.fields, self._clock())})

    def _data_refusal(self, sheet: Sheet, fields: dict[str, Any], row: Any = None) -> Answer | None:
        if sheet.is_open and not sheet.has_rules and self._switches.nested_value == "accept":
            return None
        text = sheet.refuse(fields, row)
        if text is not None:
            return error(400 if self._switches.bad_data == "400" else 500, text)
        if self._switches.nested_value != "accept" and any(isinstance(value, list | dict) for value in fields.values()):
            return error(int(self._switches.nested_value), "Invalid value: object")
        return None

    # --- query ------------------------------------------------------------------------------------------------------

    def _query(self, call: Call) -> Answer:
        if self._switches.query != "on":
            return not_found(call, is_html=self._switches.query == "off_html")
        try:
            body = loads_exact(call.body or b"{}")
        except orjson.JSONDecodeError:
            body = None
        problem = "Invalid JSON body" if not isinstance(body, dict) else None
        refusal = self._checks.first_refusal(call, Body(error=problem), ("auth", "table_name", "body", "table"))
        if refusal is not None:
            return refusal
        sheet = self._sheet(call.route.table)
        if sheet.spec.is_closed:
            return error(403, "This table is not readable through the integration API")
        try:
            query = read_query(body or {}, lambda name: self._column(sheet, name), sheet.comparing, self._switches)
        except QueryError as unfit:
            return error(unfit.status, unfit.text)
        return self._page(sheet, query)

    def _column(self, sheet: Sheet, name: str) -> str | None:
        if not sheet.has_column(name) and self._switches.query_unknown_column != "accept":
            raise QueryError(f"Unknown column '{name}' in 'where clause'", int(self._switches.query_unknown_column))
        sheet.table.index(name)
        return sheet.table.sql_name(name)

    def _page(self, sheet: Sheet, query: Query) -> Answer:
        # A walk without `sort` is in the database's order ([D]); the multiplier only has to scatter neighbours.
        unsorted = {"id": KEY, "reversed": f"{KEY} DESC", "random": f"({KEY} * 2654435761) % 1000003"}
        order = query.order or unsorted[self._switches.unsorted_order]
        total, rows = sheet.page(query, order, self._clock())
        names = query.select or sheet.columns()
        records = [{name: row.id if name == KEY else row.record.get(name) for name in names} for row in rows]
        page = {"page": query.page, "per_page": query.per_page, "total": total}
        return _good({"table": sheet.table.name, **page, "records": records})

    # --- tables -----------------------------------------------------------------------------------------------------

    def _has_table(self, name: str) -> bool:
        return name in self._sheets or (self._switches.any_table and is_name(name))

    def _sheet(self, name: str) -> Sheet:
        sheet = self._sheets.get(name)
        if sheet is None:
            sheet = self._sheets[name] = Sheet(self._tables.open(name, KEY), OzariTable(), self._switches, self._fold)
        return sheet


def not_found(call: Call, *, is_html: bool = False) -> Answer:
    """Answer for a path that no route has, as the web framework under the API would ([N])."""
    if is_html:
        return html_page(404, f"Cannot {call.method} {call.path}".replace("<", "&lt;"))
    return error(404, "Not found")


def _good(members: dict[str, Any]) -> Answer:
    return Answer(200, dumps({"success": True, **members}))
