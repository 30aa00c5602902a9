"""Looks over the shoulder of a page: what it complains of, what it fetched, what was refused to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

# A refusal is judged by its status, and is spoken of in the console as well, by the browser and by htmx.
REFUSED = ("Failed to load resource: the server responded with a status of", "Response Status Error Code")
# htmx says so when a later press makes it give up a request; a request that fails is heard of by itself.
ABORTED = ("htmx:afterRequest", "htmx:sendAbort")
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


class PageMonitor:
    """Listens to pages from their first moment on."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        self.expected: set[int] = set()
        self._responses: list[Response] = []
        self._bodies: list[str] = []

    def follow(self, page: Page) -> None:
        page.add_init_script(TELL_VIOLATIONS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def expect_status(self, *statuses: int) -> None:
        """These refusals belong to the journey."""
        self.expected.update(statuses)

    def texts(self) -> Iterable[str]:
        """Every address, request and reply so far. Asked before a page is left: a browser forgets replies with it."""
        for response in self._responses:
            with contextlib.suppress(Error):  # a redirect has no body
                self._bodies.append(response.text())
        self._responses.clear()
        return [*self.addresses, *self._bodies]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith((*REFUSED, *ABORTED)):
            self.complaints.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # A poll is broken off when its page is left; that is no fault.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self.complaints.append(f"network: {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        self.addresses.append(response.url)
        self._responses.append(response)
        if response.status >= 400 and response.status not in self.expected:
            self.complaints.append(f"answer: {response.status} {response.url}")
