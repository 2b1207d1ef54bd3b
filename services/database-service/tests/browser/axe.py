"""axe-core, which finds what of a page some readers cannot use."""

from dataclasses import dataclass
from pathlib import Path

from browser.window import Window

VENDOR = Path(__file__).parent / "vendor"
[_AXE] = VENDOR.glob("axe-*.min.js")
_RUN = """async () => (await axe.run(document, {
  resultTypes: ["violations"],
  runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
})).violations.flatMap(({id, impact, help, nodes}) => nodes.map(({html, any, all}) => ({
  rule: id, impact, help, html, why: [...any, ...all].map(({message}) => message).join("; "),
})))"""


@dataclass(frozen=True)
class Violation:
    rule: str
    impact: str
    help: str
    html: str
    why: str

    @property
    def serious(self) -> bool:
        return self.impact in ("serious", "critical")

    def __str__(self) -> str:
        return f"{self.impact}: {self.rule}: {self.help}: {self.html[:200]} ({self.why})"


async def violations(window: Window) -> list[Violation]:
    """Of the page as it is shown now."""
    if not await window.page.evaluate("() => 'axe' in window"):
        await window.page.evaluate(_AXE.read_text())
    return [Violation(**found) for found in await window.page.evaluate(_RUN)]
