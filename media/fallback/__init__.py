"""Several engines of one kind in order of preference: the first that is well serves, the next takes over.

voice.py   goes on with the next word of the sentence in which a voice failed
ears.py    gives the next recogniser the audio of every utterance that is open or owed a final

A circuit breaker (dialog/breaker.py) leaves an engine alone that keeps failing, for all calls.
"""
