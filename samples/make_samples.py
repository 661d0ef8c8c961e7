"""Cut the samples out of the whole data sets, the same way every time.

    python samples/make_samples.py [FOLDER]

FOLDER holds world-cities.ndjson.gz and jp-postal-codes.ndjson.gz (default: ../shared/data beside the checkout). What is
written is described in samples/README.md. Nothing of `loader` is used here: the samples are what a load is judged by.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EVERY_CITY = 34  # 5,032 of 171,075: enough to interrupt in the middle, few enough to load in seconds
EVERY_UPDATE = 12  # of the cities that have a second administrative level
EVERY_CODE = 20  # about 6,000 of 120,720: seven requests of up to 1,000 records

NOT_A_NUMBER = (700, 2700, 4100)  # 7003: the item Municipality is a number
WITHOUT_PREFECTURE = (1300, 3900)  # 7013: the item Prefecture is required
CUT_SHORT = 2000  # invalid JSON, as a full disk leaves it
NOT_AN_OBJECT = 5000  # a JSON array


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a gzip-compressed NDJSON file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def encode(value: object) -> str:
    """Write one line of compact JSON that keeps its letters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(name: str, lines: list[str]) -> None:
    """Write the lines of one sample."""
    data = "".join(line + "\n" for line in lines).encode()
    (HERE / name).write_bytes(data)
    print(f"{name}: {len(lines):,} lines, {len(data):,} bytes")


def cut_cities(path: Path) -> None:
    """Write the cities, and the updates that name some of them by their code."""
    cities: list[str] = []
    updates: list[str] = []
    with_second_level = 0
    for index, city in enumerate(read(path)):
        if index % EVERY_CITY:
            continue
        code = f"C{len(cities) + 1:05}"
        cities.append(
            encode(
                {
                    "fcode": code,
                    "fname": city["name"],
                    "flat": city["lat"],
                    "flng": city["lng"],
                    "fcountry": city["country"],
                    "fadmin": city["admin1"],
                }
            )
        )
        if city["admin2"]:
            if with_second_level % EVERY_UPDATE == 0:
                updates.append(encode({"fcode": code, "fadmin": f"{city['admin1']}/{city['admin2']}"}))
            with_second_level += 1
    write("cities.ndjson", cities)
    write("cities-updates.ndjson", updates)


def spoil(number: int, item: dict[str, str]) -> str:
    """Return the line of a record, wrong in one way where its number says so."""
    if number in NOT_A_NUMBER:
        item["Municipality"] = "unknown"
    if number in WITHOUT_PREFECTURE:
        del item["Prefecture"]
    line = encode(item)
    if number == CUT_SHORT:
        return line[: len(line) // 2]
    return encode(list(item.values())) if number == NOT_AN_OBJECT else line


def cut_postal_codes(path: Path) -> None:
    """Write the postal codes, each code once, with the few bad lines a real file has."""
    lines: list[str] = []
    seen: set[str] = set()
    for index, code in enumerate(read(path)):
        if index % EVERY_CODE or code["postal_code"] in seen:
            continue
        seen.add(code["postal_code"])
        item = {
            "Code": code["postal_code"],
            "Municipality": str(int(code["jisx0402"])),
            "Prefecture": code["prefecture"],
            "City": code["city"],
            "Town": code["neighborhood"],
            "Kana": code["prefecture_kana"] + code["city_kana"] + code["neighborhood_kana"],
        }
        lines.append(spoil(len(lines) + 1, item))
    write("postal-codes.ndjson", lines)


def main() -> None:
    """Write every sample."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent.parent / "shared" / "data"
    cut_cities(folder / "world-cities.ndjson.gz")
    cut_postal_codes(folder / "jp-postal-codes.ndjson.gz")


if __name__ == "__main__":
    main()
