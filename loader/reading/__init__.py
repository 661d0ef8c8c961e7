"""The sources of a run: bytes become lines, lines are checked, and checked records are gathered into windows.

Law: nothing is sent, and only the spool of standard input is written. A bad line is a value with its reason, never an
exception; an exception means that the source itself cannot be read further. What a line is, only the source's `format` knows.
"""
