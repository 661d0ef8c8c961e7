"""Push a file with the bulk helpers of elasticsearch-py. Run by the peers' Python; the job is the argument, as JSON.

The helpers chunk, retry and judge; the client's transport sends and retries. Only the envelope of a bulk request is changed into
that of the target, and its results into bulk's items, so that they meet the same server and the same records.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

from elastic_transport import ObjectApiResponse
from elasticsearch import ApiError, AsyncElasticsearch
from elasticsearch.helpers import async_streaming_bulk

job = json.loads(sys.argv[1])
base_url, path = job["url"][: job["url"].index("/", 8)], job["url"][job["url"].index("/", 8) :]
PREFIX = (json.dumps(job["credentials"])[:-1] + ',"add":[').encode()


class Client(AsyncElasticsearch):  # type: ignore[misc]  # the library is not read by the check
    """A client whose `bulk` speaks to the target."""

    async def bulk(self, *, operations: list[bytes], **_options: Any) -> ObjectApiResponse[Any]:
        """Send the documents of a bulk request; every other line of it is an action."""
        body = PREFIX + b",".join(operations[1::2]) + b"]}"
        meta, answer = await self.transport.perform_request("POST", path, body=body, headers=job["headers"])
        if not 200 <= meta.status < 300:
            raise ApiError(str(meta.status), meta=meta, body=answer)
        items = [{"index": {"status": 201 if one["result"] == "0" else 400}} for one in answer["results"]]
        return ObjectApiResponse(meta=meta, body={"items": items})


def actions() -> Iterator[dict[str, Any]]:
    """Read the source."""
    with open(job["source"], "rb") as lines:  # noqa: PTH123 - a script of another environment
        for line in lines:
            yield {"_index": "records", "_source": json.loads(line)}


async def main() -> int:
    """Send everything; return how many documents were refused."""
    bad = 0
    async with Client(base_url) as client:
        sent = async_streaming_bulk(
            client, actions(), chunk_size=job["batch"], max_retries=8, initial_backoff=1, raise_on_error=False
        )
        async for ok, _ in sent:
            bad += not ok
    return bad


sys.exit(min(asyncio.run(main()), 1))
