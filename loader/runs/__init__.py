"""The directory of a run: open and lock it, say what is in it, check and repair it.

Law: nothing here sends a request. `run.json` says what was asked for, the checkpoint log alone says what happened.
"""
