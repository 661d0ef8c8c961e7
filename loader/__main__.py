"""`python -m loader`: the same as the command `loader`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    from loader.cli.streams import secure_streams

    secure_streams()
    from loader.cli.app import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
