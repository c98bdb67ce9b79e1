"""Simulated callers: scenarios played as real SIP calls, many at a time, and judged.

run.py       which calls are placed, and each of them from its first tone to its verdict
served.py    what the server knows of a call, by its HTTP interface
expected.py  whether that is as the scenario expects
started.py   a server of our own to call
result.py    the verdicts as a table, as JSON and as JUnit XML

The caller himself is voicegw/phone.
"""
