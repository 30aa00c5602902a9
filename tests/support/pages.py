"""Parses an HTML response into what a person sees: inputs, buttons, state, errors, and whether the page polls."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"input", "meta", "link", "br", "hr", "img", "use"}


@dataclass
class Element:
    """One element of a parsed page."""

    tag: str
    attrs: dict[str, str]
    parent: Element | None = None
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str = "", **attrs: str) -> list[Element]:
        """Every element below with this tag and these attributes (`class_` finds one class of several)."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.matches(tag, attrs):
                    found.append(child)
                found += child.all(tag, **attrs)
        return found

    def matches(self, tag: str, attrs: dict[str, str]) -> bool:
        if tag and self.tag != tag:
            return False
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        classes = self.attrs.get("class", "").split()
        return all(
            value in classes if name == "class" else self.attrs.get(name) == value
            for name, value in wanted.items()
        )

    def one(self, tag: str = "", **attrs: str) -> Element:
        """The only such element."""
        found = self.all(tag, **attrs)
        assert len(found) == 1, f"{len(found)} elements match {tag} {attrs}"
        return found[0]

    @property
    def text(self) -> str:
        """Visible text, with whitespace collapsed."""
        parts = [
            child if isinstance(child, str) else child.text
            for child in self.children
            if not _is_invisible(child)
        ]
        return " ".join(" ".join(parts).split())


def _is_invisible(child: Element | str) -> bool:
    return isinstance(child, Element) and child.tag in ("noscript", "script", "datalist", "option")


class Page(HTMLParser):
    """A parsed HTML response."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.html = response.content.decode()
        self.root = self._open = Element("", {})
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open)
        self._open.children.append(element)
        if tag not in VOID:
            self._open = element

    def handle_endtag(self, tag: str) -> None:
        at: Element | None = self._open
        while at and at.tag != tag:
            at = at.parent
        if at and at.parent:
            self._open = at.parent

    def handle_data(self, data: str) -> None:
        self._open.children.append(data)

    # What the page shows

    @property
    def text(self) -> str:
        return self.root.text

    def id(self, name: str) -> Element:
        return self.root.one(id=name)

    def has(self, name: str) -> bool:
        return bool(self.root.all(id=name))

    def fields(self) -> dict[str, str]:
        """The values that the forms of the page would send, by input name."""
        sent: dict[str, str] = {}
        for each in [*self.root.all("input"), *self.root.all("textarea"), *self.root.all("select")]:
            name = each.attrs.get("name", "")
            kind = each.attrs.get("type", "")
            if not name or (kind in ("radio", "checkbox") and "checked" not in each.attrs):
                continue
            sent[name] = _value(each)
        return sent

    def visible(self) -> list[str]:
        """The names of the inputs that a person can fill in."""
        inputs = [each for each in self.root.all() if each.tag in ("input", "textarea", "select")]
        kinds = ("hidden", "radio", "search")
        return [
            each.attrs["name"]
            for each in inputs
            if each.attrs.get("type") not in kinds and "name" in each.attrs
        ]

    def options(self, name: str) -> list[str]:
        return [each.attrs["value"] for each in self.root.one("select", name=name).all("option")]

    def suggestions(self) -> list[str]:
        return [each.attrs["value"] for each in self.id("model-suggestions").all("option")]

    def buttons(self) -> list[str]:
        return [each.text for each in [*self.root.all("button"), *self.root.all("a", class_="button")]]

    def state(self) -> str:
        return self.id("endpoint-state").all("span", class_="state")[0].text

    def is_polling(self, name: str = "endpoint-state") -> bool:
        return self.id(name).attrs.get("hx-trigger", "").startswith("every ")

    def errors(self) -> dict[str, str]:
        """Error messages by input name."""
        return {
            each.attrs["id"].removeprefix("id_").removesuffix("_error"): each.text
            for each in self.root.all("ul", class_="error")
        }

    def messages(self) -> str:
        return self.id("messages").text


def _value(each: Element) -> str:
    if each.tag == "textarea":
        return "".join(child for child in each.children if isinstance(child, str)).removeprefix("\n")
    if each.tag == "select":
        options = each.all("option")
        chosen = [option for option in options if "selected" in option.attrs] or options[:1]
        return chosen[0].attrs["value"] if chosen else ""
    return each.attrs.get("value", "on" if each.attrs.get("type") == "checkbox" else "")
