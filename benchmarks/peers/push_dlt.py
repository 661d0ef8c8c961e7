"""Push a file with dlt: a pipeline into a custom destination. Run by the peers' Python; the job is the argument, as JSON.

The request helper of dlt itself is used, which retries and honours Retry-After. Run again, the pipeline goes on with the
package that it had not finished.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests

job = json.loads(sys.argv[1])


@dlt.destination(batch_size=job["batch"], naming_convention="direct", name="push")  # type: ignore[untyped-decorator]  # not read
def push(items: Any, table: Any) -> None:
    """Post one batch."""
    del table
    body = {"fields": items[0]} if job["credentials"] is None else job["credentials"] | {"add": items}
    requests.post(job["url"], json=body, headers=job["headers"])


def records() -> Iterator[Any]:
    """Read the source."""
    with open(job["source"], "rb") as lines:  # noqa: PTH123 - a script of another environment, as short as it can be
        for line in lines:
            yield json.loads(line)


pipeline = dlt.pipeline("push", destination=push, dataset_name="bench", pipelines_dir=job["folder"])
pipeline.run(records(), table_name="records").raise_on_failed_jobs()
