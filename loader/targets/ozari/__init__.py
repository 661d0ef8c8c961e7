"""Ozari: one record per request (`insert`), updates by filter (`update`), and the questions that change nothing. Pure.

`api` holds what every call shares: addresses, checks of names, the words of success and of refusal.
"""
