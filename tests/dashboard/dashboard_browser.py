"""Chromium, headless, by Debian's own driver."""

import contextlib
import os
import shutil
import tempfile

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


@contextlib.contextmanager
def chromium(*, width=1400, height=900, arguments=()):
    """A browser; nothing of it is left behind."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    profile = tempfile.mkdtemp(prefix="chromium-")
    for argument in (
        "--headless=new",
        # In a container, as root, there is no other way.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        # What a browser would ask the Internet by itself.
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-proxy-server",
        f"--window-size={width},{height}",
        f"--user-data-dir={profile}",
        *arguments,
    ):
        options.add_argument(argument)
    service = Service(shutil.which("chromedriver"), log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def until(driver, test, timeout_s=20):
    """What ``test`` gives once it is something."""
    wait = WebDriverWait(driver, timeout_s, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(lambda _: test())


def text(driver, selector):
    """What an element says, read at once: what is live may be put anew at any moment."""
    return driver.execute_script("return document.querySelector(arguments[0]).innerText", selector)


def one(driver, selector):
    """The element that a selector means."""
    return driver.find_element(By.CSS_SELECTOR, selector)


def every(driver, selector):
    """All elements that a selector means."""
    return driver.find_elements(By.CSS_SELECTOR, selector)


def complaints(driver):
    """What the browser found wrong since the last time: scripts' errors, what the policy kept from being loaded."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
