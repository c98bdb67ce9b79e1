"""A real browser without a screen, whose microphone is a wav file."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.server import wait_until

ALWAYS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
)


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def find(self, selector: str) -> WebElement:
        """The one element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What is written there, seen or not."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector)).strip()

    def texts(self, selector: str) -> list[str]:
        """Of all that match."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())"
        found: list[str] = self.run(script, selector)
        return found

    def run(self, script: str, *arguments: object) -> Any:
        """JavaScript in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, limit_s: float) -> None:
        """Until a JavaScript expression is true."""
        wait_until(lambda: self.run(f"return Boolean({script})"), limit_s, self.complaints)

    def complaints(self) -> str:
        """What stands on the page and in the console, for a test that fails."""
        lines = [str(entry["message"]) for entry in self.driver.get_log("browser")]
        return "\n".join([self.find("body").text, *lines])

    def errors(self) -> list[str]:
        """Errors of the console."""
        return [str(e["message"]) for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]

    def size(self, width: int, height: int) -> None:
        """Of the page, as a phone or a desk has it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        """light or dark."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


@contextmanager
def chromium(microphone: Path | None = None, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """`microphone`: a wav file, played once from the moment when the page listens; None: it is refused."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*ALWAYS, *flags):
        options.add_argument(flag)
    if microphone is not None:
        options.add_argument("--use-fake-ui-for-media-stream")
        options.add_argument(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
