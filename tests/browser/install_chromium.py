"""Make sure that there is a Chromium for the browser tests: Debian's, or Playwright's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def present() -> bool:
    """Whether the system's Chromium or Playwright's own is installed."""
    if shutil.which("chromium") or Path("/usr/bin/chromium").exists():
        return True
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


def install() -> None:
    """Playwright's own Chromium where its host answers, else Debian's package."""
    if (
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False).returncode
        == 0
    ):
        return
    root = [] if os.geteuid() == 0 else ["sudo"]
    if shutil.which("apt-get") is None:
        sys.exit("Please install Chromium: neither Playwright nor apt-get could do it here.")
    subprocess.run([*root, "apt-get", "update"], check=True)
    subprocess.run([*root, "apt-get", "install", "-y", "chromium"], check=True)


if __name__ == "__main__":
    if not present():
        install()
    if not present():
        sys.exit("There is no Chromium here, and none could be installed.")
