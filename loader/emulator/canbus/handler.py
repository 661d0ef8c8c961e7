"""Canbus' API: a call -> an answer, with the rows written on the way. No socket, no fault, no limit.

Written from apis.md part 2: paths, statuses, `authen`, result codes and the shapes of the answers are [D] or [E]; every switch
stands for a fact that no page gives. Credentials come in the body, so a body goes nowhere but through here.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from random import Random
from typing import Any, TypeVar

import orjson

from loader.emulator.canbus.sheet import CREATED, AppRows, Result
from loader.emulator.routes import allowed_methods
from loader.emulator.switches import CanbusSwitches
from loader.emulator.tables import Tables
from loader.emulator.values import dumps, loads_exact, whole
from loader.emulator.wire import Answer, Call, html_page

T = TypeVar("T")
BODY_KEYS: dict[str, str] = {
    "add": "add",
    "edit": "update",
    "delete": "delete",
    "list": "record_list",
    "get": "records",
    "metadata": "metadata",
}


class Canbus:
    """One tenant's apps. `clock` gives the time of day in seconds."""

    def __init__(self, switches: CanbusSwitches, tables: Tables, clock: Callable[[], float], random: Random) -> None:
        self._switches = switches
        self._clock = clock
        self._random = random
        self._apps = {app.app_id: AppRows(app, switches, tables) for app in switches.apps}
        self._max_body_bytes = switches.max_megabytes * switches.megabyte_bytes

    def scope(self, call: Call) -> str:
        """Name the app a call is for, as far as it can be told, for a limit that is kept by table."""
        if len(self._apps) == 1:
            return next(iter(self._apps))
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError:
            return ""
        return str(body.get("app_id")) if isinstance(body, dict) else ""

    def handle(self, call: Call) -> Answer:
        """Carry a call out and answer it."""
        operation = call.route.operation
        if call.route.is_wrong_method:
            # [N]; a 405 names what the path does know (RFC 9110 15.5.6).
            return self.refuse(405)._replace(headers=((b"Allow", allowed_methods(call.path)),))
        if operation not in BODY_KEYS:
            return self.failure(404)
        if len(call.body) > self._max_body_bytes:
            return self.refuse(413)
        try:
            body = loads_exact(call.body)
        except orjson.JSONDecodeError:
            return self.refuse(400)
        app = self._log_in(body) if isinstance(body, dict) else self.refuse(400)
        if isinstance(app, Answer):
            return app
        asked = body.get(BODY_KEYS[operation])
        readers = {"list": self._list, "get": self._get, "metadata": self._metadata}
        return readers[operation](app, asked) if operation in readers else self._write(operation, app, asked)

    def _log_in(self, body: dict[str, Any]) -> AppRows | Answer:
        """Check the four credentials: a wrong app is 400, a wrong key 401, a refused address 403 ([D] CB-add-old)."""
        app_id = body.get("app_id")
        rows = self._apps.get(app_id) if isinstance(app_id, str) else None
        if rows is None or body.get("tenant_id") != self._switches.tenant_id:
            return self.refuse(400)
        if rows.app.is_ip_refused:
            return self.refuse(403)
        if body.get("api_key") != rows.app.api_key or body.get("api_secret") != rows.app.api_secret:
            return self.refuse(self._switches.wrong_key_status)
        return rows

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(self, operation: str, app: AppRows, elements: Any) -> Answer:
        if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
            return self.refuse(400)
        if len(elements) > self._switches.max_records:
            return self.refuse(self._switches.over_max_status)._replace(records=len(elements))
        if operation == "add":
            results, good_status = app.add(elements, self._clock()), self._switches.success_status
            ids = tuple(result.id for result in results if result.id is not None)
        elif operation == "edit":
            results, good_status, ids = app.edit(elements), self._switches.edit_status, ()
        else:
            results, good_status, ids = app.delete(elements), self._switches.delete_status, ()
        body = dumps({"authen": "OK", "results": self._order([self._show(result) for result in results])})
        return Answer(self._status(results, good_status), body, len(elements), ids)

    def _status(self, results: Sequence[Result], good: int) -> int:
        failed = sum(not result.is_good for result in results)
        if not failed:
            return good
        switches = self._switches
        return (switches.total_failure_status if failed == len(results) else switches.partial_failure_status) or good

    def _show(self, result: Result) -> dict[str, str | None]:
        if result.id is not None:
            return {"result": result.code, "id": result.id}
        match self._switches.failed_id:
            case "absent":
                return {"result": result.code}
            case "null":
                return {"result": result.code, "id": None}
            case "empty":
                return {"result": result.code, "id": ""}

    def _order(self, results: list[T]) -> list[T]:
        return reorder(results, self._switches.result_order, self._random)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _list(self, app: AppRows, asked: Any) -> Answer:
        if not isinstance(asked, dict) or asked.keys() - {"filter", "start", "number"}:
            return self.refuse(400)
        filter_id, start = asked.get("filter", app.app.default_filter), whole(asked.get("start", 0))
        number = whole(asked.get("number", self._switches.list_default))
        if start is None or number is None or min(start, number) < 0:
            return self.refuse(400)
        if filter_id is not None and (not isinstance(filter_id, str) or filter_id not in app.app.filters):
            return self.refuse(400)
        if number > self._switches.list_max and self._switches.list_over_max == "refuse":
            return self.refuse(400)
        start = 0 if self._switches.list_ignores_start else start
        count, rows = app.walk(filter_id, start, min(number, self._switches.list_max), self._clock())
        saved = app.app.filters.get(filter_id) if filter_id is not None else None
        shown = {"_id", *saved.items} if saved is not None and saved.items else None
        records = [_show_row(row.record, shown) for row in rows]
        return self._read_answer([{"result": CREATED, "count": count, "length": len(records), "records": records}])

    def _get(self, app: AppRows, ids: Any) -> Answer:
        is_good = isinstance(ids, list) and all(isinstance(one, str) for one in ids)
        if not is_good or len(ids) > self._switches.max_records:
            return self.refuse(400)
        found = app.get(ids, self._clock())
        return self._read_answer(
            [
                {"result": CREATED, "id": one, "data": [_show_row(row.record)]}
                if row is not None
                else {"result": self._switches.not_found_code, "id": one, "data": []}
                for one, row in zip(ids, found, strict=True)
            ]
        )

    def _metadata(self, app: AppRows, asked: Any) -> Answer:
        if asked != {}:
            return self.refuse(400)  # [D] CB-meta: without `metadata`, or with one that is not empty
        return self._read_answer([{"result": CREATED, "items": app.item_list()}])

    def _read_answer(self, results: list[dict[str, Any]]) -> Answer:
        return Answer(self._switches.read_status, dumps({"authen": "OK", "results": results}))

    # --- refusing ---------------------------------------------------------------------------------------------------

    def refuse(self, status: int) -> Answer:
        """Answer with `authen` NG ([D] CB-add-old); a further member is a switch."""
        more = {} if self._switches.error_message is None else {"message": self._switches.error_message}
        return Answer(status, dumps({"authen": "NG", **more}))

    def failure(self, status: int) -> Answer:
        """Answer without `authen`: a wrong path and an unexpected error ([D] CB-add-old); JSON or a page is a switch."""
        if self._switches.error_body == "html":
            return html_page(status, "Not Found" if status == 404 else "Internal Server Error")
        return Answer(status, dumps({"message": "Not Found" if status == 404 else "Internal Server Error"}))


def reorder(results: list[T], how: str, random: Random) -> list[T]:
    """Give back results in another order or number than they were asked for."""
    match how:
        case "reversed":
            return results[::-1]
        case "shuffled":
            return random.sample(results, len(results))
        case "short":
            return results[:-1]
        case "long":
            return results + results[-1:]
        case "empty":
            return []
        case _:
            return results


def _show_row(record: dict[str, Any], shown: Container[str] | None = None) -> dict[str, Any]:
    """Leave out the items that a record has no value for, and those that are not shown."""
    return {name: value for name, value in record.items() if value is not None and (shown is None or name in shown)}
