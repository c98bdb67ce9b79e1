"""Softswitches of one's own as the contract suite sees them: Asterisk."""

from uuid import UUID

from sip.audiosocket import AudioSocketCore
from sip.mediacore import Capabilities, Encoding, MediaStreamCore, Message
from tests.contracts.farend import CarrierCase, Said

ID = UUID(int=0x0102030405060708090A0B0C0D0E0F10)


class AudioSocket(CarrierCase):
    """Asterisk's AudioSocket: whole frames, as Asterisk writes them."""

    name = "audiosocket"
    web = False
    encoding = Encoding("PCM", 8000)
    frame = b"\xd0\x07" * 160
    capabilities = Capabilities(dtmf_in=True)
    names_streams = False
    call_id = str(ID)

    def core(self) -> MediaStreamCore:
        return AudioSocketCore()

    @staticmethod
    def message(kind: int, body: bytes) -> bytes:
        return bytes((kind,)) + len(body).to_bytes(2, "big") + body

    def start(self) -> list[Message]:
        return [self.message(1, ID.bytes)]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return self.message(0x10, sound)

    def stop(self) -> Message:
        return self.message(0, b"")

    def press(self, key: str) -> Message:
        return self.message(3, key.encode())

    def understand(self, message: Message) -> Said:
        assert isinstance(message, bytes) and int.from_bytes(message[1:3], "big") == len(message) - 3
        assert message[0] in {0, 0x10}, "all else makes Asterisk hang up"
        return Said(audio=message[3:]) if message[0] else Said()


SOFTSWITCHES: tuple[type[CarrierCase], ...] = (AudioSocket,)
