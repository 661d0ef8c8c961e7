"""The emulator's own side: what it makes of a plan in a real database, before any load is judged by it."""

from __future__ import annotations

import json
from typing import Any

from loader.emulator import Emulator, running
from tests.databases.trials import CODE, Database, column, plan
from tests.emulated.wire import exchange, request

RECORDS = "/integration/tables/tcity/records"


def call(emulator: Emulator, path: str, body: dict[str, Any], method: str = "POST") -> tuple[int, Any]:
    seen = exchange(emulator, request(path, json.dumps(body).encode(), method=method))
    return seen.status, seen.json


def insert(emulator: Emulator, **fields: Any) -> tuple[int, Any]:
    return call(emulator, RECORDS, {"fields": fields})


def update(emulator: Emulator, filters: dict[str, Any], **fields: Any) -> tuple[int, Any]:
    return call(emulator, f"{RECORDS}/single", {"filters": filters, "fields": fields}, "PATCH")


def test_rows_outlive_the_emulator_and_go_back(database: Database) -> None:
    chosen = plan([column("fname", "VARCHAR(20)")], {"kind": "go_back", "keep_rows": 1, "after": 3, "times": 1})
    with running(chosen, database=database.url) as emulator:
        answers = [insert(emulator, **{CODE: f"K{number}", "fname": "100 %s", "fnew": True}) for number in range(1, 5)]
        emulator.close()
    assert [answer["insertedId"] for _, answer in answers] == [1, 2, 3, 2]
    with running(chosen, database=database.url) as emulator:
        assert [(row["fid"], row[CODE], row["fname"]) for row in emulator.rows("tcity")] == [
            (1, "K1", "100 %s"),
            (2, "K4", "100 %s"),
        ]
        emulator.close()


def test_the_databases_words_and_counts(database: Database) -> None:
    for counted in ("changed", "matched"):
        chosen = plan([column("fshort", "VARCHAR(3)")], updated_count=counted)
        with running(chosen, database=database.url) as emulator:
            status, answer = insert(emulator, fshort="long")
            assert (status, answer["success"], "too long" in answer["error"]) == (500, False, True)
            key = insert(emulator, fshort="abc")[1]["insertedId"]
            moments = [emulator.rows("tcity")[-1]["flastmodify"]]
            same = update(emulator, {"fid": str(key)}, fshort="abc")[1]["updated"]
            assert same == int(counted == "matched" or not database.is_mariadb)
            moments.append(emulator.rows("tcity")[-1]["flastmodify"])
            assert moments[0] == moments[1]
            emulator.close()
