"""The test phone: a caller who follows a script, over a real SIP stack.

script.py    what the caller does, and what is expected; YAML or the command line
sound.py     lines become audio: a synthesiser or a WAV file
session.py   the caller: speaks when the bot is silent, hears when it speaks
report.py    what happened, how fast, and whether it was as expected
dial.py      one call from dialling to hang-up, over any `SipEndpoint`
"""
