"""`loader log check` and `loader log repair`, as far as the log itself is concerned: survey, salvage, refill, write anew.

Law: a damaged log is never changed in place. A record is counted as settled only by an entry whose checksum holds.
"""
