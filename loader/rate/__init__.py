"""When a request may leave: a token bucket if the user named a rate, else a search for the target's limit.

Law: the finder (`finder`, `state`, `growth`, `cut`, `estimates`, `gate`) is a pure function of state, event and time. Only the
queue in `admission` waits for anything.
"""
