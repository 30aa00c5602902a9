"""Several served entities in one form: one of them is open, with inputs; the others are packed into one hidden input.

What is packed is what was typed: pasted keys are sealed, as everywhere in a draft, and nothing is judged before it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving_ui.lib import json_text

PACKED, AT = "other_entities", "entity_at"
ORIGIN, TRAFFIC = "entity_origin", "traffic"
MOST = 10
_LONGEST = 200_000

Answers = dict[str, str]


@dataclass
class Entities:
    """The entities that are not open, in their order, and the place of the one that is. Everything by input name."""

    others: list[Answers] = field(default_factory=list)
    at: int = 0

    @classmethod
    def typed(cls, post: Mapping[str, str], known: frozenset[str]) -> Entities:
        """From what the browser sent back. What does not look as if it came from here is left out."""
        others: list[Answers] = []
        try:
            found = json_text.read(
                (post.get(PACKED, "")[:_LONGEST] or "[]").encode(), json_text.REQUEST_BOUNDS
            )
            at = int(post.get(AT, "0")[:3])
        except ValueError:
            return cls()
        for packed in found if isinstance(found, list) else []:
            if isinstance(packed, dict) and len(others) < MOST - 1:
                others.append(
                    {name: text for name, text in packed.items() if name in known and isinstance(text, str)}
                )
        made = cls(others, min(max(at, 0), len(others)))
        for place, packed in enumerate(made.around({})):
            if f"{TRAFFIC}-{place}" in post and place != made.at:
                packed[TRAFFIC] = post[f"{TRAFFIC}-{place}"]
        return made

    @property
    def count(self) -> int:
        return len(self.others) + 1

    @property
    def packed(self) -> str:
        return json_text.write(self.others).decode()

    def around(self, opened: Answers) -> list[Answers]:
        """All of them, with the open one in its place."""
        return [*self.others[: self.at], opened, *self.others[self.at :]]

    def open(self, place: int, opened: Answers) -> Answers:
        """Closes the open one and opens another; gives what is known of that."""
        everything = self.around(opened)
        chosen = everything.pop(place)
        self.others, self.at = everything, place
        return chosen

    def add(self, opened: Answers) -> Answers:
        """Opens a new, empty one at the end."""
        self.others, self.at = self.around(opened), self.count
        return {}

    def remove(self, place: int, opened: Answers) -> Answers:
        """Drops one; if it was the open one, its neighbour is opened. Gives what is open then."""
        everything = self.around(opened)
        if place == self.at:
            del everything[place]
            self.at = min(place, len(everything) - 1)
        else:
            del everything[place]
            self.at -= place < self.at
        chosen = everything.pop(self.at)
        self.others = everything
        return chosen
