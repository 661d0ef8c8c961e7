"""Ambiguous records: the target is asked about each, and it ends as created, absent and sent again, or ambiguous.

Law: what is found is final. Absence is believed only after the settle time, and only where what the records are asked by
(stamp or key) has been proved. What cannot be known is listed, never guessed.
"""
