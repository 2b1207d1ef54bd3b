"""The page about OpenID Connect: what it says to set lets somebody in, in a whole system beside a provider."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from e2e.conftest import READY, running
from support.cluster import free_port
from support.identity_provider import CLIENT, SECRET, running_provider
from support.pages import DOCS

pytestmark = pytest.mark.stack

PAGE = DOCS / "howto" / "sign-in-with-oidc.md"
SET = re.compile(r"^((?:OIDC|PUBLIC)_[A-Z_]+)=(.+)$", re.MULTILINE)


async def test_what_the_page_says_to_set_lets_people_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, secret = free_port(), folder / "oidc_client_secret"
    home = f"http://127.0.0.1:{port}"
    secret.write_text(f"{SECRET}\n")
    async with running_provider(f"{home}/admin/oidc/callback") as provider:
        here = {
            "PUBLIC_URL": home,
            "OIDC_ISSUER": provider.issuer,
            "OIDC_CLIENT_ID": CLIENT,
            "OIDC_CLIENT_SECRET_FILE": str(secret),
        }
        told = dict(SET.findall(PAGE.read_text().partition("## Here")[2].partition("```bash")[0]))
        assert here.keys() <= told.keys()
        for name, value in (told | here).items():
            monkeypatch.setenv(name, value)
        with running(folder / ".data", port, folder) as system:
            await asyncio.to_thread(system.until, READY)
            async with httpx.AsyncClient(follow_redirects=True) as browser:
                page = await browser.get(f"{home}/admin/events")
                link = re.search(r'href="([^"]+)">Sign in with Example Inc\.<', page.text)
                assert link
                came = await browser.get(link[1])
            assert (came.status_code, str(came.url)) == (200, f"{home}/admin/events"), came.text
            assert '<span class="who">oidc:anna/24400320</span>' in came.text
            assert provider.asked["/authorize"] == 1
            log = "".join(file.read_text() for file in (system.data / "logs").iterdir())
            assert "hub.signed_in" in log
            assert not [code for code in provider.sent if code in log]
            assert "state=" not in log
