"""Ozari's rows in a real MariaDB or PostgreSQL, for tests: `make databases`. The drivers are the extra `databases`.

What a real database does to values, comparisons and counts is left to it: nothing here converts, cuts or folds.
"""
