"""What people and programs see of a run: the report at the end, progress meanwhile, the log file.

Law: nothing here decides anything about a record. Foreign text is escaped, secrets are taken out, and no observer raises or
waits.
"""
