import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from missing_tools import skip

ROOT = Path(__file__).parents[2]
TIMEOUT = 300_000
"""Milliseconds that a test waits for an event: a slow machine is not a failure."""


def pytest_ignore_collect(collection_path, config):
    """Collect these tests only when they are named: they need a browser."""
    return None if any("tests/browser" in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def browser():
    """Chromium; without it the tests are skipped, or fail in continuous integration."""
    executable = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        executable = None
    if executable is None:
        skip("Chromium or Playwright is not installed: run `make test-browser`")
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=executable, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """An empty page; the test fails if the page reported errors."""
    page, errors = browser.new_page(viewport={"width": 1400, "height": 800}), []
    page.set_default_timeout(TIMEOUT)
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"{request.url}: {request.failure}"))
    yield page
    page.close()
    assert errors == []


@pytest.fixture(scope="session")
def run():
    """The results of `make demo` in this checkout."""
    folder = ROOT / "results" / "miniature"
    assert (folder / "comparison.md").exists(), "there is no finished miniature: run `make demo`"
    return folder


@pytest.fixture(scope="session")
def report(run, tmp_path_factory):
    """Snakemake's report of the miniature, unpacked."""
    folder = tmp_path_factory.mktemp("report")
    snakemake = Path(sys.executable).parent / "snakemake"
    command = [snakemake, "--configfile", "config/miniature.yaml", "--report"]
    done = subprocess.run(
        [*command, folder / "report.zip"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "report.zip") as file:
        file.extractall(folder)
    return folder / "report" / "report.html"
