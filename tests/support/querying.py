"""Queries an endpoint again and again in a thread, and keeps every answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.support.product import Answer, Person
from tests.support.waiting import until


@dataclass
class Asking:
    """The answers so far, oldest first."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    @property
    def models(self) -> list[str]:
        """The models that answered, each once for every run of equal ones."""
        runs: list[str] = []
        for answer in self.answers:
            if answer.status == 200 and runs[-1:] != [answer.model]:
                runs.append(answer.model)
        return runs

    def wait_for_more(self, count: int = 20) -> None:
        """Returns once so many queries more have been answered."""
        goal = len(self.answers) + count
        until(lambda: len(self.answers) >= goal, what=f"{count} more answers")

    def wait_for_model(self, model: str, *, seconds: float = 15) -> None:
        """Returns once this model answers."""
        until(lambda: self.models[-1:] == [model], what=f"an answer of {model}", seconds=seconds)


@contextmanager
def asking(person: Person, name: str) -> Iterator[Asking]:
    """Queries from a thread of its own until the block ends."""
    heard, done, pause = Asking(), threading.Event(), threading.Event()
    with requests.Session() as session:
        somebody = Person(person.product, session, person.token)

        def go_on() -> None:
            while not done.is_set():
                heard.answers.append(somebody.ask(name))
                pause.wait(0.005)  # the other processes shall get a turn, too

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            done.set()
            thread.join(30)
