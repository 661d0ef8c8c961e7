"""Over the wire only where simloop runs, from Python 3.12 on; `make simulate` looks for one, and says so if there is none."""

from __future__ import annotations

import sys

collect_ignore = ["test_wire.py"] if sys.version_info < (3, 12) else []
