"""A server that behaves like Ozari and Canbus, on loopback, with a fault plan. It shares no code with the client.

    server      sockets and HTTP            engine      what happens to a request, in order
    ozari*      Ozari's API                 faults      which requests get which fault
    canbus*     Canbus' API                 effects     what a fault does to an answer
    tables      the rows, in SQLite         limits      access limits
    switches    every undocumented fact     journal     what happened
    columns     Ozari's tables and columns  backups     a target that goes back

Both APIs are written from apis.md alone, so that emulator and client cannot agree on the same mistake.
"""

from loader.emulator.emulator import Emulator, EmulatorThread, exports, run_emulator, running
from loader.emulator.journal import Fact, Journal
from loader.emulator.plan import Plan, PlanError, parse_plan, read_plan

__all__ = [
    "Emulator",
    "EmulatorThread",
    "Fact",
    "Journal",
    "Plan",
    "PlanError",
    "exports",
    "parse_plan",
    "read_plan",
    "run_emulator",
    "running",
]
