"""Supervised worker processes, for whatever computes too long for the event loop: models that listen,
speak or write.

    parent (event loop)                                      worker process, one model loaded
    pool.stream(request) -> queue -> Worker --socket pair--> engine.answer(request) -> pieces
                                        '-- watched: dead or silent -> replaced, its job given to another

An engine is two files. The worker's side loads the model and answers requests, one after the other:

    # media/tts/piper_worker.py                  imported in the worker only
    class Piper:
        def __init__(self, settings: dict[str, Any]) -> None:
            self._voice = PiperVoice.load(settings["model"])
        def answer(self, request: bytes) -> Iterator[bytes]:
            header, _ = unpack(request)          # media.workers.wire: a JSON header and a body of bytes
            for chunk in self._voice.synthesize(header["text"]):
                yield chunk.audio_int16_bytes    # sent at once; here a cancelled request ends
    create = Piper

and the parent's:

    pool = WorkerPool("media.tts.piper_worker", {"model": path}, PoolConfig(workers=2), name="piper")
    await pool.start()                           # until one is ready; raises WorkerError if none can be
    async with aclosing(pool.stream(pack({"text": text}))) as pieces:
        async for pcm in pieces:                 # leaving the block early cancels the request
            ...
    text = await pool.request(pack(header, pcm)) # where there is one piece
    await pool.close()

What a worker that died or hung had not begun to answer goes to another one (`retries`); what it had begun
raises WorkerError, which is a retryable ProviderError. `pool.stats()` and `pool.fault()` are for metrics and
/health. An exception in `answer` fails that request alone.

wire.py     messages on the socket, and requests of a header and a body
process.py  one life of a worker process
lives.py    the place of one worker over all its lives: restart with back-off, watch
pool.py     jobs, queue, retries, cancelling
child.py    the worker's main program

pocketsphinx (media/stt/sphinx) says more to its workers than a pool can: it shares wire, process, lives.
"""
