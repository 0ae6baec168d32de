"""Install into the venv that runs this: with uv, from PyPI; with pip where uv does not work.

uv reads neither pip's configuration files nor its ``PIP_*`` variables. Whoever
has set an index, a proxy or certificates for pip means them for this too, so
they are handed on; a ``UV_*`` variable that is set already wins.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping

PIP = [sys.executable, "-m", "pip"]
QUIET = ["-q", "--disable-pip-version-check"]
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def main(what: list[str]) -> int:
    """Install ``what``, in the words of ``uv pip install``, and return the exit code."""
    if install_uv():
        environment = for_uv(pip_settings(), os.environ)
        # As pip does: tests start thousands of processes, and where Python may not write each would compile Celery.
        options = ["-q", "--compile-bytecode", "--python", sys.executable]
        command = [sys.executable, "-m", "uv", "pip", "install", *options, *what]
        if subprocess.run(command, env=environment, check=False).returncode == 0:
            return 0
        print("uv did not manage; trying pip ...", file=sys.stderr)
    return install_with_pip(what)


def install_uv() -> bool:
    """Say whether uv is there, after an attempt to get it."""
    if (
        subprocess.run([sys.executable, "-m", "uv", "--version"], check=False, capture_output=True).returncode
        == 0
    ):
        return True
    return subprocess.run([*PIP, "install", *QUIET, "uv"], check=False).returncode == 0


def install_with_pip(what: list[str]) -> int:
    """Install with a pip that knows dependency groups (25.1)."""
    subprocess.run([*PIP, "install", *QUIET, "--upgrade", "pip>=25.1"], check=False)
    code = subprocess.run([*PIP, "install", *QUIET, *what], check=False).returncode
    if code:
        print(
            "Neither uv nor pip could install what pyproject.toml asks for; the reason is above. "
            "Behind a proxy or a mirror, set pip's index-url, proxy or cert and run make again.",
            file=sys.stderr,
        )
    return code


def pip_settings() -> dict[str, str]:
    """Return pip's settings, without their sections; what is set closer to the user wins."""
    listed = subprocess.run([*PIP, "config", "list"], check=False, capture_output=True, text=True).stdout
    settings: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(f"{section}."):
                settings[name.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    return settings


def for_uv(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` with pip's settings in uv's words."""
    wanted = {
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": " ".join(settings.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(settings.get("find-links", "").split()),
        "UV_INSECURE_HOST": " ".join(settings.get("trusted-host", "").split()),
        "UV_NO_INDEX": "1" if settings.get("no-index", "").lower() in {"1", "true", "yes"} else "",
        "UV_HTTP_TIMEOUT": settings.get("timeout", settings.get("default-timeout", "")),
        "HTTP_PROXY": settings.get("proxy", ""),
        "HTTPS_PROXY": settings.get("proxy", ""),
        "SSL_CERT_FILE": settings.get("cert", ""),
    }
    if wanted["UV_INDEX"]:
        # pip takes the best version of all its indexes, uv that of the first one that has any.
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if wanted["SSL_CERT_FILE"] or any(environment.get(name) for name in CERTIFICATES):
        # The second name is what uv called it before 0.9.
        wanted |= {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return {name: value for name, value in wanted.items() if value} | dict(environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
