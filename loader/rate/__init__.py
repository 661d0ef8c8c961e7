"""When a request may leave: a token bucket where the user names a rate, a search for the target's limit where not.

Law: the finder (`finder` and what it is made of) is a pure function of state, event and time. Only `admission` and the two
throttles wait for anything.
"""
