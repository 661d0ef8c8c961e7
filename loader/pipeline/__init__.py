"""One execution of a run, from the open directory to the report.

Law: this room puts the parts of the other rooms together and decides their order. The preflight comes before anything else
is sent, and the intent of a window is durable before its first record may leave.
"""
