"""The way of one chunk from the queue to its outcome: send it, wait, send it again, halve it, settle its records.

Law: an answer is acted on once. A record gets its outcome in `settlement` and nowhere else. What may have been applied is never
sent again from here: it goes to `reconcile`.
"""
