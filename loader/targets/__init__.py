"""From records to requests, and from answers to verdicts. Pure; one folder for each vendor.

`base` is what a target is, `registry` the table of all kinds. A target knows its vendor's wire format and nothing else.
"""
