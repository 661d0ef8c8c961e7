"""The planted bugs, as data: what each does wrong, where it is planted, and which tests are to catch it.

Shape: an edit's `old` stands exactly once in its file, or planting fails; so the table cannot rot unseen. `tests` are what
pytest takes. The first fourteen are those of reliability.md 4.2 N; the others were added as the promises were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Rotten(ValueError):
    """The place of a bug is not in its file exactly once: the file has changed, and the table must follow."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One place in the tree."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """Return the file's text with the bug in it. Errors: Rotten."""
        if text.count(self.old) != 1:
            raise Rotten(f"{self.file} holds this {text.count(self.old)} times, not once:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug that at least one of `tests` must catch."""

    name: str
    prose: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    def plant(self, tree: Path) -> None:
        """Plant it. Errors: Rotten."""
        for edit in self.edits:
            path = tree / edit.file
            path.write_text(edit.applied(path.read_text(encoding="utf-8")), encoding="utf-8")


def bug(name: str, prose: str, *edits: Edit, by: tuple[str, ...]) -> Bug:
    """Make a bug; `by` names test files below tests/."""
    return Bug(name, prose, edits, tuple(f"tests/{test}" for test in by))


CRASH = "emulated/test_crash.py::test_a_load_survives_kills_at_some_points"
CHECKPOINT = "unit/checkpoint/test_log.py"
CANBUS = "emulated/test_load_canbus.py"
GAPS = "emulated/test_mutant_gaps.py"
LOST = "emulated/test_load_lost_answers.py"
ROWS, STORED = "emulated/test_update_rows.py", "emulated/test_stored_values.py"
RESUME = "emulated/test_load_resume.py"
SOURCES = "emulated/test_load_sources.py"
STOPS = "emulated/test_load_stops.py"
TRANSPORT = "emulated/test_transport.py"
REUSE = "emulated/test_transport_reuse.py"
MANNERS = "emulated/test_transport_manners.py"
FOLLOW = "emulated/test_transport_follow.py"
INSERT = "unit/targets/test_ozari_insert.py"
UPDATE = "unit/targets/test_ozari_update.py"
LOOKUP = "unit/targets/test_ozari_lookup.py"
ADD = "unit/targets/test_canbus.py"
PROOFS = "emulated/test_proofs.py"
PLAIN = "unit/reading/test_bulk_check.py"

FOURTEEN = (
    bug(
        "no intent",
        "Intents are kept in memory, and reach the log with the outcomes behind them, a moment later.",
        Edit(
            "loader/checkpoint/log.py",
            "            self._turn.add(window)\n        await self.sync()\n",
            "            self._turn.add(window)\n"
            "            self.state.apply(self._entries(window, self._writer.next_n)[0])\n",
        ),
        Edit(
            "loader/checkpoint/log.py",
            "                        self.state.apply(entry)\n",
            "                        if not isinstance(entry, Intent):\n"
            "                            self.state.apply(entry)\n",
        ),
        Edit(
            "loader/checkpoint/log.py",
            "self._loop.call_soon(self._flush)",
            "self._loop.call_later(0.2, self._flush)",
        ),
        by=(CRASH, CHECKPOINT),
    ),
    bug(
        "intent not synced",
        "An intent is written, but a power loss may take it while its records are on their way.",
        Edit(
            "loader/checkpoint/log.py",
            "            self._turn.add(window)\n        await self.sync()\n",
            "            self._turn.add(window)\n        self._flush()\n",
        ),
        by=(CHECKPOINT,),
    ),
    bug(
        "no settle",
        "Whoever is in doubt is asked about, or sent again, at once: the target may still be applying the lost request.",
        Edit(
            "loader/reconcile/reconciler.py",
            "return self._policy.settle_seconds + (",
            "return 0 * self._policy.settle_seconds + (",
        ),
        by=(GAPS,),
    ),
    bug(
        "blind retry",
        "A request whose answer was lost is sent again, as if it had never left.",
        Edit("loader/delivery/delivery.py", "return Unknown(reply.error)", "return Retry(reply.error)"),
        by=(LOST,),
    ),
    bug(
        "fake 400 trusted, session",
        "aiohttp reports a broken answer as an exception with status 400, and that is believed.",
        Edit(
            "loader/transport/session.py",
            "            if answer is None:\n",
            "            if isinstance(error, aiohttp.ClientResponseError):\n"
            '                return Response(error.status, {}, b"")\n'
            "            if answer is None:\n",
        ),
        by=(TRANSPORT,),
    ),
    bug(
        "fake 400 trusted, lean",
        "The same in the lean transport: the parser's own error has a code.",
        Edit(
            "loader/transport/lean.py",
            "            words = TIMED_OUT if exchange.is_expired",
            '            if hasattr(error, "code"):\n'
            '                return Response(error.code, {}, b"")\n'
            "            words = TIMED_OUT if exchange.is_expired",
        ),
        by=(TRANSPORT,),
    ),
    bug(
        "reuse without poll and echo",
        "A pooled connection is used again unseen, and the answer is not compared with what was sent.",
        Edit(
            "loader/transport/pool.py",
            "    return {descriptor for descriptor, _ in poller.poll(0)}\n",
            "    return set()\n",
        ),
        Edit("loader/targets/ozari/insert.py", "        if found.is_mismatch:\n", "        if False:\n"),
        by=(REUSE,),
    ),
    bug(
        "shifted results",
        "A Canbus answer with fewer results than records is read by position all the same.",
        Edit(
            "loader/targets/canbus/add.py",
            "        if not isinstance(results, list) or len(results) != len(chunk.records):\n",
            "        if isinstance(results, list):\n"
            "            results = [*results, *[None] * len(chunk.records)][: len(chunk.records)]\n"
            "        else:\n",
        ),
        by=(CANBUS,),
    ),
    bug(
        "echo not compared",
        "An answer that belongs to another record is believed, with its id.",
        Edit("loader/targets/ozari/insert.py", "        if found.is_mismatch:\n", "        if False:\n"),
        by=(INSERT,),
    ),
    bug(
        "7012 always ours",
        "A duplicate is taken for our own record, although no request with it was ever in doubt.",
        Edit("loader/targets/canbus/results.py", 'if code == DUPLICATE and doubt == "stamp":', "if code == DUPLICATE:"),
        by=(CANBUS,),
    ),
    bug(
        "500 is a refusal, Ozari",
        "A record is rejected because the server failed, though it may be there.",
        Edit(
            "loader/targets/ozari/api.py",
            "    common = common_verdict(response, redactor)\n",
            "    if response.status == 500:\n"
            '        return Settled((Rejected("target", "500", ""),))\n'
            "    common = common_verdict(response, redactor)\n",
        ),
        by=(LOST,),
    ),
    bug(
        "500 is a refusal, Canbus",
        "A chunk is halved, as after a 400, although parts of it may be there.",
        Edit(
            "loader/targets/canbus/add.py",
            "        common = common_verdict(response, self._envelope.redactor)\n",
            "        if response.status == 500:\n"
            '            return Split("500", "")\n'
            "        common = common_verdict(response, self._envelope.redactor)\n",
        ),
        by=(STOPS + "::test_a_chunk_that_fails_is_taken_apart_and_the_culprit_held",),
    ),
    bug(
        "created before the body is read, Ozari",
        "A 201 alone is taken for a created record, whatever came of its body.",
        Edit(
            "loader/targets/ozari/insert.py",
            "            return body\n",
            "            return Settled((Created(None),)) if isinstance(body, Unknown) else body\n",
        ),
        by=(LOST,),
    ),
    bug(
        "created before the body is read, Canbus",
        "The same for a chunk: the status alone makes all of it created.",
        Edit(
            "loader/targets/canbus/add.py",
            "            return Unknown(reason, response.status, is_unreadable=True)\n",
            "            return Settled((Created(None),) * len(chunk.records))\n",
        ),
        by=(ADD,),
    ),
    bug(
        "cancelled on SIGINT",
        "An interruption cancels what is on its way instead of waiting for it.",
        Edit(
            "loader/pipeline/tasks.py",
            "                        if task not in sending:\n                            task.cancel()\n",
            "                        task.cancel()\n",
        ),
        by=(RESUME,),
    ),
    bug(
        "redirects followed",
        "A redirect is an order, and carries the body to a stranger.",
        Edit("loader/transport/session.py", "allow_redirects=False", "allow_redirects=True"),
        by=(MANNERS,),
    ),
    bug(
        "lock removed",
        "Two processes may hold one run, since its lock is shared.",
        Edit(
            "loader/checkpoint/storage.py",
            "fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        ),
        by=(RESUME + "::test_one_process_holds_a_run",),
    ),
    bug(
        "source checksum not checked, open lines",
        "Lines that are read again are taken for those that were read before.",
        Edit(
            "loader/pipeline/resume.py",
            "if len(windows) != 1 or windows[0].crc != window.crc:",
            "if len(windows) != 1:",
        ),
        by=(GAPS,),
    ),
    bug(
        "source checksum not checked, settled lines",
        "A source that changed in the middle and grew at its end passes for one that only grew.",
        Edit("loader/reading/fingerprint.py", "        if crc != this.crc:\n", "        if False:\n"),
        by=("unit/reading/test_fingerprint.py",),
    ),
)

DOUBT = (
    bug(
        "absence believed at once",
        "The early question finds nothing, and the record is sent again before the settle time is over.",
        Edit(
            "loader/reconcile/reconciler.py",
            "        believed_at = doubt.lost_at + self._settle_seconds\n",
            "        believed_at = doubt.lost_at\n",
        ),
        by=(GAPS,),
    ),
    bug(
        "second look removed",
        "A late twin of a record that was sent again is never found.",
        Edit(
            "loader/pipeline/execution.py",
            "            await flow.reconciler.second_look()\n",
            "            pass\n",
        ),
        by=(LOST + "::test_a_commit_beyond_the_settle_time_is_found_and_told",),
    ),
    bug(
        "an outage rejects records",
        "Three server errors reject a record, also where no other one succeeds meanwhile.",
        Edit(
            "loader/reconcile/reconciler.py",
            "        return self._settlement.successes > fault.successes_before\n",
            "        return True\n",
        ),
        by=(GAPS,),
    ),
    bug(
        "absence without a proof believed",
        "Nothing was created by which the stamp could be proved, and yet what is not found is sent again.",
        Edit(
            "loader/reconcile/reconciler.py",
            "            case Absent() if self._claim.is_given_up:\n",
            "            case Absent() if False:\n",
        ),
        by=(GAPS,),
    ),
    bug(
        "key without the fid floor",
        "Rows that were in the table before the run count as its own.",
        Edit("loader/pipeline/reconcile_setup.py", "        floor = endpoint.highest_fid\n", "        floor = 0\n"),
        by=(LOST + "::test_rows_that_were_there_before_are_not_ours",),
    ),
    bug(
        "a key's row proves presence, without a floor",
        "If nobody knows where the table ended at the run's start, a row with the key counts as ours, however old it is.",
        Edit(
            "loader/targets/ozari/lookup.py",
            '            return Undecided("a row has this key, but it may be older than the run")\n',
            "            return Found(known, len(known))\n",
        ),
        by=(LOOKUP,),
    ),
    bug(
        "one row for two records",
        "A row whose id the log has for another line proves that this line was created, too.",
        Edit(
            "loader/reconcile/strategies.py",
            "        if self._is_exact:\n            return set()\n",
            "        return set()\n",
        ),
        by=(LOST + "::test_equal_keys_are_told_apart",),
    ),
    bug(
        "one key in flight twice",
        "Two records with one key are sent together; of one row nobody can say whose it is.",
        Edit(
            "loader/targets/ozari/insert.py",
            "Record(source, number, offset, data, key, None if key is None else lock_text(key))",
            "Record(source, number, offset, data, key, None)",
        ),
        by=(GAPS,),
    ),
    bug(
        "one unique key in flight twice",
        "The same for Canbus: a duplicate that is refused may be the other line's.",
        Edit(
            "loader/targets/canbus/add.py",
            "lock = lock_text(key) if key is not None and self._is_unique else None",
            "lock = None",
        ),
        by=(GAPS,),
    ),
    bug(
        "updates out of order",
        "Updates of one row do not wait for each other, so an earlier one that is sent again may win.",
        Edit("loader/targets/ozari/update.py", "lock=row_lock(filters, new)", "lock=None"),
        by=(LOST + "::test_equal_filters_go_in_source_order",),
    ),
    bug(
        "locks removed",
        "Whoever shares a lock goes out together: equal keys and equal filters alike.",
        Edit("loader/delivery/locks.py", "            if key in held:\n", "            if False:\n"),
        by=(LOST + "::test_equal_filters_go_in_source_order",),
    ),
    bug(
        "filters of other fields taken for other rows",
        "A row that one line names by its fid and another by its key is changed by both at once.",
        Edit("loader/delivery/locks.py", "(self._fields is not None and lock.fields != self._fields) or ", ""),
        by=(ROWS + "::test_a_row_that_is_named_by_two_sets_of_filters_gets_its_values_in_source_order",),
    ),
    bug(
        "a coarser lock beside the finer ones",
        "The first update under the table's lock does not wait for those that are out under locks of their own.",
        Edit(
            "loader/delivery/locks.py", "if self._behind or (level != self._level and self._held):", "if self._behind:"
        ),
        by=("unit/delivery/test_locks.py",),
    ),
    bug(
        "a repeated refusal believed",
        "An update was applied, its own change moved a column of its filters, and the second sending's 404 rejects it.",
        Edit("loader/targets/ozari/update.py", "if chunk.in_doubt and (has_matched", "if False and (has_matched"),
        by=(ROWS + "::test_an_update_that_moves_a_column_of_its_own_filters_is_not_rejected",),
    ),
    bug(
        "a settle time behind each lock",
        "What a crash left of one row waits a settle time each, one after another.",
        Edit(
            "loader/pipeline/resume.py", "age_seconds = self._parts.runtime.clock() - self._began", "age_seconds = 0.0"
        ),
        by=(ROWS + "::test_after_a_crash_what_shares_a_lock_does_not_wait_a_settle_time_each",),
    ),
    bug(
        "parked records not counted",
        "Intended updates pile up behind a lock, and a crash leaves more of them than the start line announced.",
        Edit(
            "loader/delivery/queue.py",
            "waiting = self._fresh_records + self._later_records + self._locks.parked",
            "waiting = self._fresh_records",
        ),
        by=(ROWS + "::test_after_a_crash_what_shares_a_lock_does_not_wait_a_settle_time_each",),
    ),
    bug(
        "--exact looks away",
        "A row of another spelling is updated, although such lines were to be rejected.",
        Edit("loader/delivery/worker.py", "if parts.guard is not None and not await", "if False and not await"),
        by=(STORED + "::test_with_exact_such_a_line_is_rejected_and_nothing_is_written",),
    ),
    bug(
        "an update of its own filters sent again",
        "An update that no longer matches its own row once it was applied is repeated, and refused or worse.",
        Edit(
            "loader/reconcile/updates.py",
            "await self._ask(record) if self._lookup.is_needed(record) else SendAgain(is_in_doubt=True)",
            "SendAgain(is_in_doubt=False)",
        ),
        by=(LOST + "::test_an_update_of_its_own_filters_is_asked_about",),
    ),
    bug(
        "the word of --unique unproved",
        "The user's word is believed: where it is not true, every lost answer makes a twin.",
        Edit(
            "loader/pipeline/reconcile_setup.py",
            "if not run.plan.target.needs_proof or",
            "if run.plan.target.needs_proof or",
        ),
        by=(CANBUS + "::test_a_word_that_is_not_true_is_found_out_and_leaves_no_twin",),
    ),
    bug(
        "the word of --stamp unproved",
        "A stamp that the table does not keep is asked for, and every absence is believed.",
        Edit(
            "loader/pipeline/reconcile_setup.py",
            "    if is_proved or (not is_stamp and",
            "    if policy or (not is_stamp and",
        ),
        by=(GAPS,),
    ),
    bug(
        "no note of what was not sent, removed late",
        "What the last execution knew as unsent stays noted while it is sent: a crash then sends it twice.",
        Edit(
            "loader/pipeline/execution.py",
            "            await flow.unsent.forget()\n",
            "            await log.sync()\n",
        ),
        by=(GAPS,),
    ),
    bug(
        "doubtful records noted as unsent",
        "A chunk that waits to be sent again after a lost answer counts as never sent.",
        Edit("loader/delivery/queue.py", "if not (queued.chunk.in_doubt and queued.attempts)", "if True"),
        by=(GAPS,),
    ),
    bug(
        "the line behind unsent ones noted as unsent",
        "Of each range of unsent lines one line too many is believed: it may have left, and is sent again unasked.",
        Edit("loader/delivery/unsent.py", "min(last + 1, live.window.end)", "min(last + 2, live.window.end)"),
        by=("unit/delivery/test_unsent.py",),
    ),
    bug(
        "doubt forgotten where a part is sent again",
        "Records of a mixed answer go out again as new ones, and our own earlier record refuses them as duplicates.",
        Edit("loader/delivery/delivery.py", "Chunk(tuple(again), queued.chunk.in_doubt)", "Chunk(tuple(again))"),
        by=("unit/delivery/test_delivery_mixed.py",),
    ),
    bug(
        "one run id for all runs",
        "Two runs write the same stamps, so one finds the other's records and takes them for its own.",
        Edit(
            "loader/runtime.py",
            "    return secrets.choice(string.ascii_lowercase) +",
            '    return "a123456789" or',
        ),
        by=(GAPS,),
    ),
    bug(
        "another tenant accepted",
        "A resume with another client's credentials goes on as if it were the same table.",
        Edit(
            "loader/runs/directory.py",
            "recorded.identity is not None and recorded.identity.binding != identity.binding",
            "recorded.identity is not None and not identity.binding",
        ),
        by=(RESUME + "::test_the_credentials_of_another_client_send_nothing",),
    ),
    bug(
        "another app of the tenant accepted",
        "Only the shown name is compared, and two apps of one Canbus tenant have the same.",
        Edit(
            "loader/runs/directory.py",
            "recorded.identity.binding != identity.binding:",
            "recorded.identity.name != identity.name:",
        ),
        by=(RESUME + "::test_the_credentials_of_another_client_send_nothing",),
    ),
    bug(
        "a shortened log believed",
        "A log that came back shorter is gone on with, and what it forgot is sent again unasked.",
        Edit(
            "loader/pipeline/intake.py",
            "if self._shortened_log is not None and (self._shortened_log.is_on or is_marked):",
            "if False:",
        ),
        by=(GAPS,),
    ),
)

FLOW = (
    bug(
        "good answers earn no retries",
        "Some 35 faults use up the budget of a whole run, and every further one pauses all traffic.",
        Edit("loader/delivery/delivery.py", "            self._budget.succeed(count)\n", ""),
        by=("unit/delivery/test_delivery.py",),
    ),
    bug(
        "twice as many records outstanding",
        "The reader waits only when memory and a crash hold twice what was promised.",
        Edit(
            "loader/delivery/queue.py",
            "or self.outstanding > self._max_outstanding\n",
            "or self.outstanding > 2 * self._max_outstanding\n",
        ),
        by=("unit/delivery/test_queue.py",),
    ),
    bug(
        "a chunk spans windows",
        "What is left of a window waits for company, and goes out with lines of the next window or source.",
        Edit(
            "loader/delivery/packer.py",
            "        self._queue.put([QueuedChunk(chunk) for chunk in self._chunker(in_doubt=in_doubt).pack(records)])\n",
            '        chunker = self._kept = getattr(self, "_kept", None) or self._chunker(in_doubt=in_doubt)\n'
            "        chunks = [chunk for record in records if (chunk := chunker.feed(record)) is not None]\n"
            "        def flush() -> None:\n"
            "            if (rest := chunker.flush()) is not None:\n"
            "                self._queue.put([QueuedChunk(rest)])\n"
            "        import asyncio\n"
            "        asyncio.get_running_loop().call_later(0.05, flush)\n"
            "        self._queue.put([QueuedChunk(chunk) for chunk in chunks])\n",
        ),
        by=(SOURCES + "::test_several_sources_are_one_run",),
    ),
    bug(
        "a repeated chunk spans sources",
        "Records of two sources are sent again in one chunk, and the log takes all of them for lines of the first.",
        Edit(
            "loader/delivery/packer.py",
            "groupby(records, lambda record: record.source)",
            "groupby(records, lambda record: 0)",
        ),
        by=(GAPS,),
    ),
    bug(
        "Retry-After ignored by the throttle",
        "A pause that the target names is not made.",
        Edit(
            "loader/delivery/sender.py",
            "return Throttled(retry_after_seconds(reply.headers))",
            "return Throttled(None)",
        ),
        by=(STOPS + "::test_nothing_is_sent_in_the_pause_that_the_target_asks_for",),
    ),
    bug(
        "Retry-After ignored by the chunk",
        "The chunk that was refused comes back before its time.",
        Edit("loader/delivery/retry.py", "        if retry.after_seconds is not None:\n", "        if False:\n"),
        by=("unit/delivery/test_retry.py",),
    ),
    bug(
        "breaker removed",
        "An outage is met with records: every one that is read goes out, fails and is in doubt.",
        Edit("loader/delivery/breaker.py", "FAULTS_TO_OPEN = 5\n", "FAULTS_TO_OPEN = 5_000_000\n"),
        by=(STOPS + "::test_an_outage_is_waited_for_with_harmless_calls",),
    ),
    bug(
        "a crowd after the outage",
        "Once a probe is answered, everything goes at once instead of one record alone.",
        Edit(
            "loader/delivery/breaker.py",
            '                self._state = "half_open"\n',
            '                self._state = "closed"\n',
        ),
        by=(STOPS + "::test_the_first_record_after_an_outage_goes_alone",),
    ),
    bug(
        "ceiling of a 413 forgotten by the resume",
        "What was learnt of the largest body is not kept, and the resume runs into it again.",
        Edit(
            "loader/delivery/packer.py",
            "            self._notes.max_bytes = self.max_bytes\n",
            "            pass\n",
        ),
        by=(CANBUS,),
    ),
    bug(
        "ceiling of a 413 forgotten by the run",
        "Every further chunk is too large again.",
        Edit(
            "loader/delivery/delivery.py",
            "            parts.packer.lower_max_bytes(len(parts.target.encode(queued.chunk).body) // 2)\n",
            "            pass\n",
        ),
        by=(CANBUS,),
    ),
    bug(
        "a 400 believed unasked",
        "A chunk is bisected and its records are rejected, although the credentials may be what is refused.",
        Edit("loader/targets/canbus/add.py", "must_ask_first=True", "must_ask_first=False"),
        by=(CANBUS,),
    ),
    bug(
        "order of a mixed answer lost",
        "The outcomes of a chunk are sorted by kind, and stand at other records than their own.",
        Edit(
            "loader/delivery/delivery.py",
            "[record for record, _ in final], [outcome for _, outcome in final])",
            "[record for record, _ in final], sorted((outcome for _, outcome in final), key=lambda one: -len(one)))",
        ),
        by=(CANBUS,),
    ),
    bug(
        "ids of a chunk shifted",
        "Each record gets the id of the next one.",
        Edit(
            "loader/targets/canbus/add.py",
            "Settled(CreatedIds(ids))",
            "Settled(CreatedIds(ids[1:] + ids[:1]))",
        ),
        by=(CANBUS,),
    ),
    bug(
        "a number too large for any target let pass",
        "The decoder that knows a table's rows takes integers past the largest double, and nobody looks for them.",
        Edit(
            "loader/reading/bulk_check.py",
            "None if _may_hold_long_digits(raw) else self._layout_of(lines)",
            "self._layout_of(lines)",
        ),
        by=(PLAIN,),
    ),
    bug(
        "a key that stands twice hidden by a blank",
        "Colons with white space before them are not looked for where members are counted by their quotes.",
        Edit(
            "loader/reading/bulk_check.py",
            "if _BACKSLASH in raw or any(spaced in raw for spaced in _SPACED_COLONS):",
            "if _BACKSLASH in raw:",
        ),
        by=(PLAIN,),
    ),
    bug(
        "ids at wrong lines in the log",
        "The ids of a second run of lines are taken from the beginning.",
        Edit("loader/checkpoint/state.py", "known[at : at + end - first]", "known[: end - first]"),
        by=(CHECKPOINT,),
    ),
    bug(
        "a redirected request sent again",
        "What a redirect may have hidden goes back to the work as if it had not left.",
        Edit(
            "loader/delivery/delivery.py",
            "                if not verdict.may_be_applied:\n",
            "                if True:\n",
        ),
        by=(STOPS + "::test_what_nothing_can_help_stops_the_run",),
    ),
    bug(
        "more rejects than allowed",
        "A run that is refused record by record goes on to the end.",
        Edit("loader/delivery/settlement.py", "        if reason is not None:\n", "        if False:\n"),
        by=(STOPS + "::test_too_many_rejects_stop_the_run",),
    ),
    bug(
        "followed unseen",
        "The next request leaves on a connection that may have been closed, or have more to say.",
        Edit(
            "loader/transport/lean_connection.py",
            "            if connection.protocol.descriptor in speaking:\n",
            "            if False:\n",
        ),
        by=(FOLLOW,),
    ),
    bug(
        "a session's connection used unseen",
        "A request leaves on a connection that has said something, or was closed, since its last answer.",
        Edit(
            "loader/transport/attempt.py",
            "            if protocol.is_used and not protocol.is_quiet():\n",
            "            if False:\n",
        ),
        by=(REUSE,),
    ),
    bug(
        "sent for nobody",
        "A request leaves whose sender was told that it had not.",
        Edit("loader/transport/lean_connection.py", "if self.is_expired or transport is None", "if transport is None"),
        by=("emulated/test_transport_choice.py",),
    ),
    bug(
        "an early answer believed",
        "What was said before the whole request was handed over is taken for its answer.",
        Edit("loader/transport/session.py", "is_uploaded = attempt.is_uploaded", "is_uploaded = True"),
        by=(TRANSPORT,),
    ),
    bug(
        "turned away and sent all the same",
        "An attempt that may have left is made once more on another connection.",
        Edit(
            "loader/transport/session.py",
            "        except ConnectionUnusableError:\n",
            "        except (ConnectionUnusableError, aiohttp.ServerDisconnectedError):\n",
        ),
        Edit(
            "loader/transport/session.py",
            "contextlib.suppress(ConnectionUnusableError)",
            "contextlib.suppress(ConnectionUnusableError, aiohttp.ServerDisconnectedError)",
        ),
        by=(REUSE,),
    ),
    bug(
        "followed by any answer",
        "An answer that is cut or came too early is followed like a whole one.",
        Edit(
            "loader/transport/lean_connection.py",
            "response is not None and response.is_complete and response.is_upload_complete",
            "response is not None",
        ),
        by=(FOLLOW,),
    ),
    bug(
        "one parser for all answers",
        "What a server says unasked behind an answer becomes the beginning of the next one.",
        Edit(
            "loader/transport/lean_protocol.py",
            "        self._parser = HttpResponseParser(\n",
            "        self._parser = self._parser or HttpResponseParser(\n",
        ),
        by=(FOLLOW,),
    ),
    bug(
        "a record that waits for its token forgotten",
        "A worker that is cancelled drops the parcel that it had taken behind a good answer.",
        Edit("loader/delivery/worker.py", "if slot.queued is not None and not slot.is_out:", "if False:"),
        by=("unit/delivery/test_worker.py",),
    ),
    bug(
        "a record that has no token sent",
        "A request follows a good answer though the rate does not allow it yet.",
        Edit(
            "loader/delivery/fast_path.py",
            "for slot, request in zip(going[:count], requests, strict=False):",
            "for slot, request in zip(going, requests, strict=False):",
        ),
        by=("unit/delivery/test_fast_path.py",),
    ),
    bug(
        "an answer settles its neighbour",
        "Of the answers of a turn, each is read as that of another record.",
        Edit(
            "loader/delivery/fast_path.py",
            "self._delivery.read_replies(queued_chunks, responses)",
            "self._delivery.read_replies(queued_chunks, responses[::-1])",
        ),
        by=("unit/delivery/test_fast_path.py",),
    ),
    bug(
        "what was settled before a failure settled again",
        "The log is gone in the middle of a turn, and the records whose answers had come go back as unsent.",
        Edit(
            "loader/delivery/fast_path.py",
            "                slot.error, slot.request = error, None\n",
            "                slot.error, slot.request, slot.is_out = error, None, False\n",
        ),
        by=("unit/delivery/test_worker.py", "unit/delivery/test_fast_path.py"),
    ),
    bug(
        "an answer judged twice",
        "What the crew has read is read again, and its own id looks like somebody else's.",
        Edit(
            "loader/delivery/worker.py",
            "slot.verdict or self._delivery.read_replies((queued,), (reply,))[0]",
            "self._delivery.read_replies((queued,), (reply,))[0]",
        ),
        by=("unit/delivery/test_worker.py",),
    ),
    bug(
        "a refusal forgotten in --ordered",
        "The next record leaves before the refusal of the one before is durable: after a crash that one is created behind it.",
        Edit(
            "loader/delivery/worker.py",
            "            if parts.settlement.is_order_at_stake:\n",
            "            if False:\n",
        ),
        by=("simulation/test_found.py::test_a_refusal_that_is_forgotten_does_not_put_its_record_behind_later_ones",),
    ),
    bug(
        "a wait that outlasts the patience",
        "A pause of the loader's own is as long as the silence for which it gives up.",
        Edit("loader/delivery/retry.py", "most = self.patience_seconds / 4\n", "most = 2 * self.patience_seconds\n"),
        by=("unit/delivery/test_retry.py",),
    ),
    bug(
        "order of --ordered lost",
        "A record goes out although one before it has no outcome.",
        Edit(
            "loader/delivery/queue.py",
            "return not self.is_ordered or self._source_order.is_first(",
            "return True or self._source_order.is_first(",
        ),
        by=(STOPS,),
    ),
)

DISK = (
    bug(
        "spool synced after the intent",
        "The log speaks of lines of a pipe that a power loss may take.",
        Edit(
            "loader/pipeline/intake.py",
            "        await reader.keep(windows[-1].first_offset + windows[-1].byte_count)\n",
            "",
        ),
        Edit(
            "loader/pipeline/intake.py",
            "        await self._log.intend([window.window() for window in windows])\n",
            "        await self._log.intend([window.window() for window in windows])\n"
            "        await reader.keep(windows[-1].first_offset + windows[-1].byte_count)\n",
        ),
        by=(GAPS,),
    ),
    bug(
        "two windows intended whatever is open",
        "A crash finds more records open than the loader said at its start.",
        Edit("loader/pipeline/intake.py", "queue.outstanding + 2 * limits.window_lines <= limits.crash_bound", "True"),
        by=("emulated/test_load_windows.py",),
    ),
    bug(
        "synced while the file is swapped",
        "A sync begins while a new generation of the log is put in its place, and vouches for entries of the other file.",
        Edit(
            "loader/checkpoint/writer.py",
            "if self._sync is not None or self._is_held:",
            "if self._sync is not None:",
        ),
        by=("unit/checkpoint/test_writer.py",),
    ),
    bug(
        "a failed sync tried again",
        "A second sync succeeds although the pages of the first are lost.",
        Edit(
            "loader/checkpoint/writer.py",
            "        self._can_sync = False\n        if isinstance(error, OSError):\n",
            "        if isinstance(error, OSError):\n",
        ),
        by=(CHECKPOINT,),
    ),
    bug(
        "checksums of the log not compared",
        "A line of the log counts whatever its checksum says.",
        Edit(
            "loader/checkpoint/format.py",
            '    return line[-10:-2] == b"%08x" % zlib.crc32(memoryview(line)[:-_TAIL_BYTES], seed)\n',
            "    return True\n",
        ),
        by=("unit/checkpoint/test_damage.py",),
    ),
    bug(
        "checksums of the log not seeded",
        "Lines of another run's log pass for this one's.",
        Edit(
            "loader/checkpoint/format.py",
            "    return zlib.crc32(run_id.encode(), zlib.crc32(kind))\n",
            "    return zlib.crc32(kind)\n",
        ),
        by=("unit/checkpoint/test_damage.py", "unit/checkpoint/test_format.py"),
    ),
    bug(
        "acknowledged damage taken for a torn end",
        "A hole in what was durable is cut off with all behind it, and its records are sent again.",
        Edit("loader/checkpoint/scan.py", "        if entry.s >= expected:\n", "        if False:\n"),
        by=("unit/checkpoint/test_damage.py",),
    ),
    bug(
        "marks beside the log not looked at",
        "A log that was cut by hand counts as whole, and what it has forgotten as new.",
        Edit("loader/checkpoint/log.py", " if end > line else gaps\n", " if False else gaps\n"),
        by=("unit/checkpoint/test_intended.py",),
    ),
    bug(
        "a log closed under its own thread",
        "A second cancellation closes the file that a fold is being written to.",
        Edit("loader/checkpoint/log.py", "await run_shielded(self._close())", "await self._close()"),
        by=("unit/checkpoint/test_log.py",),
    ),
    bug(
        "a line end taken for a change",
        "A source that grew behind a line without line end is refused when it grows again.",
        Edit(
            "loader/reading/fingerprint.py",
            "cursor.move_to(max(this.offset, cursor.offset))",
            "cursor.move_to(this.offset)",
        ),
        by=("unit/reading/test_fingerprint.py",),
    ),
    bug(
        "a lost beginning believed",
        "A header that is made anew is followed by whatever is left: without its intents, nothing seems to have been sent.",
        Edit("loader/checkpoint/load.py", "and entry.n != FIRST_ENTRY:", "and entry.n < FIRST_ENTRY:"),
        by=("unit/checkpoint/test_load.py",),
    ),
    bug(
        "several rows guessed",
        "A record that stands in several rows of a list gets the id of one of them.",
        Edit(
            "loader/reconcile/row_matches.py",
            " AND (SELECT count(*) FROM seen AS other WHERE other.text = seen.text) = 1",
            "",
        ),
        by=("emulated/test_load_learning.py",),
    ),
    bug(
        "a key in a row believed",
        "A row with the key of an ambiguous record is taken for it, however old it is.",
        Edit("loader/reconcile/list_filter.py", "if self._is_stamped or match.was == CREATED)", "if match.was)"),
        by=("emulated/test_load_learning.py",),
    ),
    bug(
        "a record held for sent that the log could not be told of",
        "A full disk before the first record leaves a whole window in doubt, of which nothing left.",
        Edit(
            "loader/delivery/worker.py",
            "except (asyncio.CancelledError, LogStorageFailed):",
            "except asyncio.CancelledError:",
        ),
        by=("emulated/test_crash_storage.py::test_a_disk_that_is_full_before_the_first_record_leaves_none_in_doubt",),
    ),
    bug(
        "the exception says what was sent",
        "An error of the operating system is taken for proof that nothing left.",
        Edit(
            "loader/transport/session.py",
            "return self._no_response(error, is_sent=attempt.is_sent)",
            "return self._no_response(error, is_sent=not isinstance(error, OSError))",
        ),
        by=(TRANSPORT,),
    ),
)

BELIEFS = (
    bug(
        "stamps that grow",
        "The number in a stamp has no leading zeros: the first record proves the field's room for the shortest one.",
        Edit("loader/targets/stamp_form.py", "if sources > 1 else 0, LINE_DIGITS)", "if sources > 1 else 0, 0)"),
        by=("unit/targets/test_stamps.py",),
    ),
    bug(
        "a proof without a no",
        "The row of the first record is there with another text, and is waited for all the same.",
        Edit(
            "loader/reconcile/keeping.py",
            "if isinstance(stored, StoredText) and stored.text != record.key:",
            "if isinstance(stored, StoredText) and stored.text is None:",
        ),
        by=(PROOFS + "::test_a_stamp_that_is_stored_otherwise_is_refuted_at_once",),
    ),
    bug(
        "the read lag forgotten",
        "An absence is believed after the settle time, though a created record was shown later than that.",
        Edit("loader/reconcile/reconciler.py", "(beliefs.lag_seconds if beliefs is not None else 0.0)", "0.0"),
        by=(PROOFS + "::test_the_lag_of_reads_is_the_least_that_an_absence_waits",),
    ),
    bug(
        "every absence believed",
        "A key that the table cuts or folds is not found, and its record is sent again.",
        Edit("loader/reconcile/beliefs.py", "if isinstance(conclusion, Absent) else", "if False else"),
        by=(PROOFS + "::test_a_key_that_is_not_kept_doubles_nothing",),
    ),
    bug(
        "a proof covers every text",
        "One key that was kept is taken for all, of whatever characters and length.",
        Edit(
            "loader/reconcile/kinds_of_text.py",
            "return other.kinds <= self.kinds and other.characters <= self.characters and other.size <= self.size",
            "return bool(self.characters)",
        ),
        by=("unit/reconcile/test_kinds_of_text.py",),
    ),
    bug(
        "twins uncounted",
        "Rows with the run's stamps are counted at the end, and too many of them say nothing.",
        Edit("loader/pipeline/end_count.py", "elif rows > most:", "elif rows > 2 * most:"),
        by=(PROOFS + "::test_twins_that_a_gateway_makes_are_counted_at_the_end",),
    ),
    bug(
        "a question by key that writes",
        "Without the query endpoint a key is asked for by a PATCH: an older row that is only alike is written over.",
        Edit("loader/targets/ozari/kinds.py", "redactor) if is_stamp else None", "redactor)"),
        by=(PROOFS + "::test_without_the_query_endpoint_no_question_writes_by_a_key",),
    ),
)

BUGS = FOURTEEN + DOUBT + FLOW + DISK + BELIEFS
