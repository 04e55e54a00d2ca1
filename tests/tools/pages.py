"""Pages of HTML, read."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """The text of a page's tiles, table, notes and blocks, and its pictures."""

    def __init__(self, path: Path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.parts: dict[str, list[str]] = {}
        self.examples: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(self.text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.examples[values["alt"]] = values["src"]
        if tag not in ("img", "meta"):
            self._open.append(tag)
            self.parts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.parts[self._open[-1]][-1] += data

    @property
    def tiles(self) -> dict[str, tuple[str, str]]:
        about = iter(self.parts["dd"])
        return {label: (next(about), next(about)) for label in self.parts["dt"]}
