"""The embedded recogniser: pocketsphinx in worker processes.

    parent (asyncio)                                      worker process, one a core
    PocketSphinx . Stream -> Pool -> WorkerProcess  ===>  worker -> Plan (from the domain) -> Ears
    audio of open utterances only, kept until the final   grammar, digits, n-gram, phone loop

pocketsphinx holds the GIL while it decodes, hence processes. A worker keeps nothing between two
utterances: what carries over (the caller's cepstral mean) travels with the messages, so any worker
can take any utterance, and one that dies is replaced without the caller noticing.
"""
