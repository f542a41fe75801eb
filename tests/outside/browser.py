"""A browser for the tests of the pages.

Chromium and its driver come from the PATH; nothing is downloaded.
"""

import json
import shutil
import tempfile
import unittest

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

TIMEOUT = 30  # Seconds.


def start_browser(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        # The sandbox does not work for root, and the browser only opens our pages.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--window-size=1200,1600",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class BrowserTestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        profile = tempfile.TemporaryDirectory()
        cls.addClassCleanup(profile.cleanup)
        cls.browser = start_browser(profile.name)
        cls.addClassCleanup(cls.browser.quit)
        cls.browser.set_script_timeout(TIMEOUT)

    def open(self, url):
        # Discard the logs of earlier tests.
        self.browser.get_log("browser")
        self.browser.get_log("performance")
        self.browser.get(url)

    def find(self, selector):
        """Waits until an element is shown, and returns it."""

        def shown():
            return next((e for e in self.browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()), None)

        return self.wait(shown, f"{selector} is not shown")

    def wait(self, condition, message=""):
        # By default it looks twice a second.
        return WebDriverWait(self.browser, TIMEOUT, poll_frequency=0.05).until(lambda _: condition(), message)

    def console(self):
        """Returns the warnings and errors in the console."""
        return [line for line in self.browser.get_log("browser") if line["level"] not in ("INFO", "DEBUG")]

    def urls(self):
        """Returns the URLs that the browser has requested since the page was opened."""
        messages = (json.loads(line["message"])["message"] for line in self.browser.get_log("performance"))
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
