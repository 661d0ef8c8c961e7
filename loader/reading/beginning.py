"""Looks at the beginning of a file before a run is made of it: is it there, and is it NDJSON?

Standard input cannot be read twice; its beginning is looked at where it is read (`stdin`).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from loader.errors import SourceError
from loader.reading.sniff import HEAD_BYTES, cautions, examine, refusal
from loader.reading.source import FileSource

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/{1,2}(?=[^/])")
_READERS = {
    "http": "curl -fsSL {}",
    "https": "curl -fsSL {}",
    "ftp": "curl -fsS {}",
    "ftps": "curl -fsS {}",
    "s3": "aws s3 cp {} -",
    "s3a": "aws s3 cp {} -",
    "gs": "gcloud storage cat {}",
    "hdfs": "hdfs dfs -cat {}",
    "az": "azcopy cat {}",
    "azure": "azcopy cat {}",
    "sftp": "curl -fsS {}",
    "scp": "curl -fsS {}",
    "smb": "smbget -O {}",
    "dbfs": "databricks fs cat {}",
}
_REMOTE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:[^:]*[/.][^:]*")


def check_name(source: str) -> None:
    """Refuse the name of something that is no file of this machine. Errors: SourceError."""
    if Path(source).exists():
        return
    url = _URL.match(source)
    scheme = url[1].lower() if url is not None else ""
    # A path object has made one stroke of the two.
    if url is not None and (source[url.end() - 2] == "/" or scheme in _READERS):
        whole = source if source[url.end() - 2 : url.end()] == "//" else f"{source[: url.end()]}/{source[url.end() :]}"
        if scheme == "file":
            hint = f"give its path: {shlex.quote('/' + source[url.end() :].lstrip('/'))}"
        else:
            hint = _READERS.get(scheme, "COMMAND THAT READS {}").format(shlex.quote(whole)) + " | loader … - --run DIR"
        raise SourceError(f"{whole} is a URL; sources are files, and no URLs are read", hint)
    if source.startswith("file:/"):
        raise SourceError(f"{source} is a URL", f"give its path: {shlex.quote('/' + source[5:].lstrip('/'))}")
    if _REMOTE.fullmatch(source):
        host, _, path = source.partition(":")
        raise SourceError(
            f"{source} does not exist on this machine",
            f"ssh {shlex.quote(host)} cat {shlex.quote(path)} | loader … - --run DIR",
        )


def check_beginning(path: Path) -> tuple[str, ...]:
    """Refuse a file that is not NDJSON, by name and with the command that makes lines of it. Errors: SourceError.

    Return what a user should know of a file that is.
    """
    opened = FileSource(path)
    head = bytearray()
    is_whole = False
    try:
        for piece in opened.chunks(0, HEAD_BYTES):
            head += piece
            if len(head) >= HEAD_BYTES:
                break
        else:
            is_whole = True
    except SourceError:
        if not head:
            raise  # what can be read of a damaged file is loaded first
    finally:
        opened.close()
    form = examine(bytes(head), is_whole=is_whole)
    if form is not None:
        raise refusal(form, str(path), str(path), opened.kind)
    return cautions(bytes(head), path.name, is_whole=is_whole)
