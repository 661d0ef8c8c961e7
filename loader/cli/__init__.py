"""The command line: one file per family of commands. It imports click and nothing heavy before a command runs."""
