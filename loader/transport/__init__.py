"""One request, one answer, or the knowledge that there is none and whether the request can have left.

Law: at most one copy of a request leaves the process, only to the origin that was asked for, and no exception of aiohttp leaves
this room. Whether a request was sent is told by the hook before its first byte, never by the class of an exception.
"""
