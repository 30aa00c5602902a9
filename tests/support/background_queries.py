"""Queries an endpoint repeatedly in a background thread and records every answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.support.product import Answer, Person
from tests.support.waiting import DEADLINE, wait_until


@dataclass
class BackgroundQueries:
    """The answers of one background thread, oldest first."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    @property
    def models(self) -> list[str]:
        """The models that answered, in order, without consecutive repetitions."""
        runs: list[str] = []
        for answer in self.answers:
            if answer.status == 200 and runs[-1:] != [answer.model]:
                runs.append(answer.model)
        return runs

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until `count` more queries have been answered."""
        goal = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= goal, what=f"{count} more answers")

    def wait_for_model(self, model: str, *, seconds: float = DEADLINE) -> None:
        """Wait until the latest answer is of this model."""
        wait_until(lambda: self.models[-1:] == [model], what=f"an answer of {model}", seconds=seconds)


@contextmanager
def query_in_background(person: Person, name: str) -> Iterator[BackgroundQueries]:
    """Query the endpoint `name` from a background thread until the block ends."""
    queries, done, pause = BackgroundQueries(), threading.Event(), threading.Event()
    with requests.Session() as session:
        somebody = Person(person.product, session, person.token)

        def send_queries() -> None:
            while not done.is_set():
                queries.answers.append(somebody.query(name))
                pause.wait(0.005)  # leaves CPU time to the other processes

        thread = threading.Thread(target=send_queries, daemon=True)
        thread.start()
        try:
            yield queries
        finally:
            done.set()
            thread.join(DEADLINE)
