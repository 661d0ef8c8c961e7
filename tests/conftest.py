"""What every test shares: no fixture, only how hypothesis, signals and the collector behave.

The same examples on every run and no deadline: a test that fails must fail again, and none may depend on how busy the
machine is. The soak looks for new examples instead; `make quick` takes few of the same.
"""

from __future__ import annotations

import gc
import os
import signal

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=20)
settings.register_profile("searching", deadline=None, database=None, print_blob=True)
settings.load_profile("searching" if "LOADER_FUZZ_CASES" in os.environ else "repeatable")

if (
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
):  # `nohup make test`: the processes that tests hang up must not inherit it
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_runtest_teardown() -> None:
    """Undo the `gc.freeze` of a command that a test ran in this process.

    Hypothesis asks the collector who refers to its random generator, and warns if nobody does. A frozen object is not
    found, and from Python 3.14 on the dictionary that holds the generator is frozen even while it is empty.
    """
    gc.unfreeze()
