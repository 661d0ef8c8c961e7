"""Push Singer messages with a target made of singer-sdk. Run by the peers' Python: the job as JSON, then the messages' file."""

from __future__ import annotations

import json
import sys
from typing import Any

import requests
from singer_sdk import Target
from singer_sdk.sinks import BatchSink

job = json.loads(sys.argv[1])


class RecordSink(BatchSink):  # type: ignore[misc]  # the kit is not read by the check
    """Post one batch a request. The kit retries nothing by itself."""

    max_size = job["batch"]
    session = requests.Session()

    def process_batch(self, context: dict[str, Any]) -> None:
        """Send what was gathered."""
        body = job["credentials"] | {"add": context["records"]}
        self.session.post(job["url"], json=body, headers=job["headers"], timeout=60).raise_for_status()


class RecordTarget(Target):  # type: ignore[misc]  # the same
    """The target: any stream goes to the one sink."""

    name = "target-records"
    config_jsonschema: dict[str, Any] = {"properties": {}}  # noqa: RUF012 - the kit's own form
    default_sink_class = RecordSink


with open(sys.argv[2], encoding="utf-8") as messages:  # noqa: PTH123 - a script of another environment
    RecordTarget(config={}).listen(messages)
