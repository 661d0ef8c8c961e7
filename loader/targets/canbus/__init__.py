"""Canbus: many records per request (`add`), and the calls that list and delete records. Pure.

`api` holds what every call shares: the envelope with its credentials, the codes that speak of the whole request.
"""
