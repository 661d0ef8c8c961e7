"""What the registry says of a kind of load (`ozari insert`), and of the vendor whose API it goes to.

Cheap to import, as all that only names a kind must be. An entry's functions import what is heavy when they are called: a shaper
and a target bring decoders with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from loader.settings import CredentialForm, Credentials, TargetSettings

if TYPE_CHECKING:
    from loader.redaction import Redactor
    from loader.targets.base import (
        Capability,
        CreatedRow,
        Lookup,
        NoQueryEndpoint,
        QueryEndpoint,
        Shaper,
        Target,
        UpdateLookup,
    )


class Vendor(NamedTuple):
    """Whose API it is. Several kinds of load may go to one."""

    name: str
    """The first word of the kinds' names and of their run directories: `ozari`."""
    title: str
    credentials: type[Credentials]
    form: CredentialForm
    base_url_variable: str
    base_url: Callable[[Any], str]
    """From credentials to the vendor's own base URL."""


class Kind(NamedTuple):
    """One kind of load. The functions take the kind's own settings and its vendor's own credentials."""

    name: str
    """As in commands, reports and run.json. It ends in `update` exactly if the settings say `is_update`."""
    vendor: Vendor
    settings: type[TargetSettings]
    concurrency: int
    """Requests in flight, unless the user says how many."""
    from_options: Callable[[Mapping[str, Any]], TargetSettings]
    """From the command's options by name to settings that nobody has checked yet."""
    check: Callable[[Any], None]
    """See that every name in the settings can be one. Pure. Errors: UsageError."""
    label: Callable[[Any, Any], str]
    """From settings and credentials (None: a dry run without any) to what tells run directories of one source apart."""
    new_shaper: Callable[[Any, str, Redactor], Shaper]
    """From settings, run id and redactor."""
    new_target: Callable[[Any, Any], Target]
    """From the kind's own shaper and credentials."""
    new_capability: Callable[[Any, Redactor], Capability] | None = None
    """None: records are not asked for by a question."""
    new_lookup: Callable[[Any, Redactor, QueryEndpoint | NoQueryEndpoint, int | None], Lookup | None] | None = None
    new_created_row: Callable[[Any, Redactor, str], CreatedRow] | None = None
    """From settings, redactor and run id; None: rows cannot be asked for by id."""
    new_update_lookup: Callable[[Any, Redactor, QueryEndpoint | NoQueryEndpoint], UpdateLookup] | None = None
    new_records: Callable[[Any], Any] | None = None
    """From credentials to the calls that list the rows of a saved filter and delete records; None: there are none."""
