"""The security checklist of reliability.md 5: every item, and the tests that show it. An item without a living test fails."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
EMULATED, UNIT, META = "emulated/test_", "unit/test_", "meta/test_"
SECURITY, TERMINAL = f"{EMULATED}security.py", f"{EMULATED}security_terminal.py"
BOMBS, TREE, SECRETS = f"{EMULATED}security_bombs.py", f"{UNIT}security_tree.py", f"{UNIT}security_secrets.py"
WIRE, TLS, MANNERS = f"{EMULATED}transport.py", f"{EMULATED}transport_tls.py", f"{EMULATED}transport_manners.py"
CREDENTIALS, ADDRESSES, SERVER = f"{UNIT}credentials.py", "unit/test_urls.py", f"{EMULATED}emulator_server.py"
SIGNALS, CONTRACT, LOCKS = f"{EMULATED}crash_signals.py", "unit/targets/test_contract.py", f"{META}locks.py"

CHECKLIST: dict[str, dict[str, tuple[str, ...]]] = {
    "credentials only from the environment or a file, never in a process list": {
        CREDENTIALS: ("test_from_the_environment", "test_a_file_that_others_can_read_is_said", "test_a_pipe_is_a_file"),
        SECURITY: ("test_no_secret_stands_in_a_process_list_and_no_core_is_dumped",),
        "unit/cli/test_cli.py": ("test_credentials_reach_the_load_and_nothing_else",),
    },
    "one trailing newline is taken off, control characters are refused without the value": {
        CREDENTIALS: (
            "test_a_file_gives_up_exactly_one_line_feed",
            "test_what_is_no_credential_is_refused_without_showing_it",
            "test_the_environment_is_not_repaired_either",
        ),
        f"{EMULATED}transport_choice.py": ("test_no_header_can_end_its_line",),
    },
    "a secret has a type that shows nothing and cannot be pickled": {
        CREDENTIALS: ("test_a_secret_shows_itself_to_nobody",),
        SECRETS: (
            "test_objects_that_hold_secrets_show_none",
            "test_a_traceback_with_locals_shows_only_wrapped_secrets",
        ),
        TREE: ("test_secrets_are_revealed_where_requests_are_built_and_nowhere_else",),
    },
    "no repr or args of foreign exceptions": {
        WIRE: ("test_row", "test_names_that_are_not_found_are_not_sent"),
        TREE: ("test_nothing_forbidden", "test_the_search_finds"),
        "unit/report/test_log_file.py": ("test_what_libraries_log_goes_there_without_its_arguments",),
        SECURITY: ("test_a_halt_names_no_secret",),
    },
    "a bug shows no secret in any form, with -v too": {
        SECURITY: ("test_a_crash_shows_no_secret",),
        "unit/cli/test_cli.py": (
            "test_a_bug_is_exit_1_and_shows_no_secret",
            "test_a_bug_goes_to_the_log_file_where_there_is_one",
        ),
        "unit/report/test_log_file.py": ("test_secrets_are_replaced_in_every_form",),
        SECRETS: ("test_a_secret_is_taken_out_in_every_form", "test_no_form_of_any_secret_stays"),
    },
    "request bodies go nowhere, and no hash of a secret is written": {
        SECURITY: ("test_an_echoing_target_gets_no_secret_written",),
        SECRETS: ("test_who_we_are_is_kept_without_secrets", "test_an_id_that_is_none_is_not_kept"),
    },
    "no core dump, no other process of the user reads the memory": {
        SECURITY: (
            "test_no_secret_stands_in_a_process_list_and_no_core_is_dumped",
            "test_the_memory_is_guarded_before_the_first_request",
        ),
        TREE: ("test_nothing_forbidden",),
    },
    "foreign text is cut and escaped": {
        "unit/targets/test_answers.py": ("test_plain_text_has_no_secret_no_escape_and_an_end",),
        "unit/report/test_wording.py": ("test_foreign_text_is_shown_and_harmless", "test_long_text_is_cut"),
        TERMINAL: (
            "test_no_control_of_a_server_or_a_source_reaches_the_terminal",
            "test_no_control_of_a_halt_reaches_the_terminal",
        ),
    },
    "canaries of every secret are searched in everything that is written": {
        SECURITY: ("test_an_echoing_target_gets_no_secret_written", "test_a_crash_shows_no_secret"),
        TERMINAL: ("test_no_secret_reaches_the_terminal",),
    },
    "https, TLS 1.2, verified; http to this machine alone": {
        ADDRESSES: ("test_refused_base_urls", "test_loopback"),
        MANNERS: ("test_addresses_that_would_betray_are_refused_at_the_start",),
        TLS: (
            "test_a_certificate_that_does_not_verify_stops_before_any_byte",
            "test_row_12_tls_1_1_is_refused",
            "test_a_private_authority_is_believed_when_it_is_named",
            "test_a_bad_ca_file_is_a_usage_error",
            "test_session_keys_are_never_written",
        ),
        TREE: ("test_nothing_forbidden",),
    },
    "no redirect is followed, to a foreign port neither": {
        SECURITY: ("test_a_redirect_is_never_followed",),
        MANNERS: ("test_a_redirect_is_an_answer_and_not_an_order",),
    },
    "no cookie, no netrc, no proxy but the one that is named": {
        MANNERS: (
            "test_cookies_proxies_and_passwords_come_from_nowhere",
            "test_a_proxy_is_used_when_it_is_named",
        ),
    },
    "the origin is fixed": {
        WIRE: ("test_no_path_changes_the_origin", "test_row_1_addresses_that_could_climb_are_not_sent"),
        "unit/cli/test_config.py": ("test_resume_keeps_the_origin_whatever_the_environment_says",),
    },
    "response bombs end by cap or timeout, at bounded memory": {
        BOMBS: ("test_a_bomb_ends_by_cap_or_timeout",),
        MANNERS: (
            "test_a_compressed_answer_is_unpacked_no_further_than_the_cap",
            "test_an_answer_is_read_up_to_its_cap",
        ),
    },
    "JSON answers are bounded in depth and size": {
        BOMBS: ("test_a_bomb_ends_by_cap_or_timeout",),
        "unit/targets/test_answers.py": ("test_what_is_no_object",),
    },
    "hostile table names": {
        SECURITY: ("test_hostile_table_names_never_leave",),
        "unit/targets/test_ozari_insert.py": ("test_names_that_cannot_be_are_wrong_usage",),
    },
    "tenant and base URL": {
        CREDENTIALS: ("test_a_tenant_must_be_a_dns_label",),
        "unit/targets/test_registry.py": ("test_a_tenant_cannot_lead_to_another_host",),
        ADDRESSES: ("test_a_password_in_a_url_is_refused_and_not_repeated",),
        SECURITY: ("test_hostile_base_urls_never_leave",),
    },
    "files are the owner's, no planted link is followed": {
        TERMINAL: ("test_files_are_the_users_own", "test_nothing_is_written_through_a_planted_link"),
        "unit/runs/test_directory.py": ("test_files_are_the_owners_alone", "test_a_planted_link_is_not_followed"),
        TREE: ("test_every_file_that_is_created_names_its_mode",),
        "unit/checkpoint/test_storage.py": ("test_files_are_for_their_owner_alone",),
    },
    "lists for people are escaped": {
        TERMINAL: ("test_the_lists_of_a_run_are_plain",),
        SECRETS: ("test_json_that_is_printed_means_the_same",),
    },
    "the emulator is bound to loopback, checks Host, refuses browsers": {
        TERMINAL: ("test_the_emulator_listens_on_loopback_alone", "test_the_emulator_serves_nobody_else"),
        SERVER: ("test_own_host", "test_foreign_host", "test_no_host_and_a_browser", "test_only_loopback_is_served"),
    },
    "the emulator caps heads, bodies and idling": {
        SERVER: ("test_caps_on_head_and_body", "test_idle_connection_is_closed", "test_what_is_no_http"),
    },
    "client and emulator know nothing of each other, and the emulator's credentials stay here": {
        f"{META}layers.py": ("test_contracts_are_kept", "test_a_broken_wall_is_noticed"),
        CREDENTIALS: (
            "test_the_emulators_own_credentials_stay_on_this_machine",
            "test_what_the_emulator_prints_is_what_is_kept_here",
        ),
        SECURITY: ("test_the_emulators_credentials_never_leave_this_machine",),
    },
    "pinned and hashed requirements, an audit, no code made of data": {
        LOCKS: (
            "test_a_lock_is_nothing_but_pins_with_hashes",
            "test_every_dependency_is_locked",
            "test_an_audit_that_could_not_ask_fails",
        ),
        TREE: ("test_nothing_forbidden",),
    },
    "enough open files before a run begins": {
        "unit/pipeline/test_open_files.py": (
            "test_the_own_limit_is_raised_as_far_as_needed",
            "test_what_the_system_does_not_allow_is_wrong_usage",
        ),
    },
    "no network use but the target": {SECURITY: ("test_nobody_is_spoken_to_but_the_target",)},
    "the answer parsers take 100,000 mutated bodies": {
        CONTRACT: (
            "test_mutated_answers",
            "test_any_status_and_any_bytes",
            "test_every_stored_answer_under_every_status",
        ),
    },
    "signals drain first, and abort only when repeated": {
        SIGNALS: (
            "test_an_interrupted_run_leaves_nothing_ambiguous",
            "test_a_second_signal_aborts_at_once",
            "test_a_process_that_slept_past_all_timeouts_goes_on",
        ),
        WIRE: ("test_row",),
    },
}


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the tests of a file that no mark leaves out altogether."""
    tree = ast.parse((TESTS / path).read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(
        node.name
        for node in functions
        if node.name.startswith("test_")
        and not any(ast.unparse(mark) == "pytest.mark.soak" for mark in node.decorator_list)
    )


@pytest.mark.parametrize("item", CHECKLIST)
def test_an_item_has_its_tests(item: str) -> None:
    named = {(path, name) for path, names in CHECKLIST[item].items() for name in names}
    assert named
    assert {(path, name) for path, name in named if name not in names_in(path)} == set()


def test_no_test_of_security_is_forgotten() -> None:
    """What stands in the files that are about security shows an item."""
    named = {(path, name) for tests in CHECKLIST.values() for path, names in tests.items() for name in names}
    there = {(path, name) for path in (SECURITY, TERMINAL, BOMBS) for name in names_in(path)}
    assert there - named == set()
