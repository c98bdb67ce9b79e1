"""The softphone in a real browser, whose microphone is a wav file: an appointment by voice, and what people
do with a page."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.callers import caller, write_wav
from tests.e2e.chromium import Browser, chromium
from tests.e2e.server import Server, booked, events, serving
from tests.tools import need

pytestmark = pytest.mark.real

RATE = 16000
TALK = [  # what the caller says, and what the bot answers
    ("i would like to book an appointment", "Would you like to see"),
    ("the dentist please", "Which day"),
    ("next tuesday", "At what time"),
    ("at three in the afternoon", "last name"),
    ("johnson", "Is that right"),
    ("yes", "You are booked"),
]
CLIENT = "document.getElementById('softphone').softphone.client"


@dataclass(frozen=True)
class Desk:
    """A server, a browser, and somebody else's page."""

    server: Server
    browser: Browser
    page: Path
    origin: str
    sound: Path  # what the microphone hears

    def speak(self, text: str) -> None:
        """Into the microphone, from now on: a browser reads the file anew when it opens the microphone."""
        write_wav(self.sound, caller(text, "rms", rate=RATE, lead_ms=100, tail_ms=1500), RATE)
        again = f"const client = {CLIENT}; client.stream.getTracks().forEach((track) => track.stop());"
        again += "client.useMicrophone('').then(() => arguments[0](''), (e) => arguments[0](String(e)));"
        assert self.browser.driver.execute_async_script(again) == ""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    need("chromium", "chromedriver", "flite")
    folder = tmp_path_factory.mktemp("softphone")
    sound = folder / "microphone.wav"
    write_wav(sound, bytes(2 * RATE), RATE)
    with website(folder / "www") as origin:
        settings = {"VOICEGW_WEBRTC__ORIGINS": f'["{origin}"]'}
        with serving(folder, **settings) as server, chromium(sound) as browser:
            yield Desk(server, browser, folder / "www" / "index.html", origin, sound)


def ready(desk: Desk) -> Browser:
    desk.browser.driver.get(desk.server.url)
    desk.browser.wait("document.querySelector('.words')?.textContent === 'Ready'", 10)
    return desk.browser


def in_state(name: str) -> str:
    return f"document.querySelector('.softphone').dataset.state === '{name}'"


def said(words: str, who: str = "") -> str:
    """That somebody's words stand in the transcript."""
    return f"[...document.querySelectorAll('.said {who}')].some((e) => e.textContent.includes({words!r}))"


def test_an_appointment_is_booked_by_voice_and_keys(desk: Desk) -> None:
    browser, server = ready(desk), desk.server
    browser.run(
        "window.partials = []; const place = document.querySelector('.partial');"
        "new MutationObserver(() => place.hidden || window.partials.push(place.textContent))"
        ".observe(place, { childList: true })"
    )
    browser.find(".main").send_keys("\n")  # by keyboard
    browser.wait(in_state("talking"), 30)
    browser.wait(said("Riverside Clinic", ".bot"), 15)
    for words, answer in TALK:  # each over the bot's last words
        desk.speak(words)
        browser.wait(said(words, ".caller"), 10)
        browser.wait(said(answer, ".bot"), 10)
    assert len(browser.run("return window.partials")) > len(TALK), "words are written while they are said"
    assert browser.texts(".unheard"), "what the caller did not hear is marked"
    browser.wait(said("anything else", ".bot"), 20)
    browser.find(".pad").click()
    browser.find('[data-key="2"]').click()  # no, that is all
    browser.wait(in_state("idle"), 30)
    assert browser.text(".words") == "The bot has hung up."
    notes = browser.texts(".said .bot .note")
    assert sum(note.endswith(" s") for note in notes) >= 5, "the latency of each turn"
    assert not browser.errors()
    server.settled()
    call = server.call_from("browser")
    booking = booked(call)
    assert (booking["who"], booking["service"], booking["time"]) == ("Johnson", "dentist", "15:00:00")
    (ringing,) = events(call, "call", state="ringing")
    assert (ringing["carrier"], call["cause"], call["recording_state"]) == ("webrtc", "normal", "complete")
    assert events(call, "dtmf", digit="2", direction="received") and events(call, "barge_in")
    assert browser.run(f"return {CLIENT}.lastKeyByRtp"), "keys travel in the audio's stream (RFC 4733)"
    assert server.metric('voicegw_softphone_total{kind="answered"}') == 1


def test_what_people_do_with_the_page(desk: Desk) -> None:
    browser = ready(desk)
    for scheme in ("dark", "light"):
        browser.scheme(scheme)
        assert complaints(browser) == [], scheme
    browser.find(".main").click()
    browser.wait(in_state("talking"), 30)
    loses_its_socket_and_its_network(desk)
    mutes_and_holds_to_talk(browser)
    assert complaints(browser) == []
    browser.find(".main").click()
    browser.wait(in_state("idle"), 30)
    assert browser.text(".words") == "Call ended."
    assert browser.run("return document.activeElement.classList.contains('main')"), "the focus stays"
    desk.server.settled()
    assert desk.server.calls()[-1]["cause"] == "normal"
    assert not browser.errors()


def loses_its_socket_and_its_network(desk: Desk) -> None:
    """The call goes on, and the transcript is whole."""
    browser = desk.browser
    browser.run(f"window.before = {CLIENT}.socket; {CLIENT}.socket.close()")
    browser.wait(f"{CLIENT}.socket && {CLIENT}.socket !== window.before", 15)
    ufrag = f"return {CLIENT}.pc.remoteDescription.sdp.match(/ice-ufrag:(.*)/)[1]"
    old = browser.run(ufrag)
    browser.run("window.dispatchEvent(new Event('online'))")  # as when another network comes up
    browser.wait(f"{CLIENT}.pc.remoteDescription.sdp.match(/ice-ufrag:(.*)/)[1] !== {old!r}", 15)
    browser.wait(f"{CLIENT}.connected && {in_state('talking')}", 15)
    desk.speak("i would like to book an appointment")
    browser.wait(said("book an appointment", ".caller"), 30)
    browser.wait(said("Would you like", ".bot"), 30)
    assert sum("Riverside" in text for text in browser.texts(".said .bot")) == 1, "no message twice"


def mutes_and_holds_to_talk(browser: Browser) -> None:
    track = f"{CLIENT}.stream.getAudioTracks()[0].enabled"
    browser.find(".mute").click()
    assert browser.find(".mute").get_attribute("aria-pressed") == "true"
    assert browser.run(f"return {track}") is False
    browser.find(".mute").click()
    assert browser.run(f"return {track}") is True
    browser.run("document.querySelector('.more').open = true")
    browser.find(".ptt").click()
    assert browser.run(f"return {track}") is False, "until the button is held"
    press = "document.querySelector('.talk').dispatchEvent(new PointerEvent(arguments[0]))"
    browser.run(press, "pointerdown")
    assert browser.run(f"return {track}") is True and browser.text(".talk") == "Speak now"
    browser.run(press, "pointerup")
    assert browser.run(f"return {track}") is False


def complaints(browser: Browser) -> list[str]:
    """What somebody who cannot see, or has no mouse, would miss. By rules of WCAG 2.2, A."""
    found: list[str] = browser.run((Path(__file__).parent / "accessible.js").read_text())
    return found


@contextmanager
def website(folder: Path) -> Iterator[str]:
    """Somebody else's pages. Yields their origin."""
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_two_lines_of_script_put_the_softphone_on_another_page(desk: Desk) -> None:
    browser, server = desk.browser, desk.server
    desk.page.write_text(
        '<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>\n'
        f'<script src="{server.url}embed.js" data-flow="clinic" data-label="Call the clinic"></script>'
    )
    shadow = "document.querySelector('voicegw-softphone:not([hidden])')?.shadowRoot"
    words = f"{shadow}.querySelector('.words')?.textContent"
    browser.driver.get(desk.origin)
    browser.wait(shadow, 15)
    browser.run(f"{shadow}.querySelector('.launch').click()".replace("?", ""))
    browser.wait(f"{words} === 'Ready'", 15)
    browser.run(f"{shadow}.querySelector('.main').click()".replace("?", ""))
    browser.wait(f"{shadow}.querySelector('.said .bot')?.textContent.includes('Riverside')", 10)
    browser.run(f"{shadow}.querySelector('.main').click()".replace("?", ""))
    browser.wait(f"{words} === 'Call ended.'", 15)
    assert not browser.errors()
    browser.driver.get(desk.origin.replace("localhost", "127.0.0.1"))  # an origin that is not allowed
    browser.wait(shadow, 15)
    browser.run(f"{shadow}.querySelector('.launch').click()".replace("?", ""))
    browser.wait(f"{words} === 'Not available'", 15)
    browser.wait(f"{shadow}.querySelector('.problem').textContent === 'This page may not call.'", 15)
    server.settled()
    assert server.calls()[-1]["from"] == desk.origin.removeprefix("http://")


@pytest.mark.parametrize(
    "error, words",
    [("NotAllowedError", "was refused"), ("NotFoundError", "No microphone"), ("NotReadableError", "another")],
)
def test_a_microphone_that_cannot_be_had_is_explained(desk: Desk, error: str, words: str) -> None:
    browser = ready(desk)
    browser.run(
        f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{error}') }}"
    )
    calls = len(desk.server.calls())
    browser.find(".main").click()
    browser.wait(f"document.querySelector('.problem').textContent.includes('{words}')", 15)
    assert browser.run(f"return {in_state('idle')}") and len(desk.server.calls()) == calls
