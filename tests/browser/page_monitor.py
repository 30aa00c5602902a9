"""Records what pages report and fetch: console errors, failed requests, error statuses, and all replies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

# The browser and htmx also log an error status to the console; `_answered` checks the status itself.
REFUSED = ("Failed to load resource: the server responded with a status of", "Response Status Error Code")
# htmx logs these when a later request replaces a running one; `_failed` sees requests that really fail.
ABORTED = ("htmx:afterRequest", "htmx:sendAbort")
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


class PageMonitor:
    """Collects `complaints` about the pages that it follows."""

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
        """Error statuses that the test expects."""
        self.expected.update(statuses)

    def texts(self) -> Iterable[str]:
        """Every address and reply body so far. Call it before the page is left, because the browser discards its replies then."""
        for response in self._responses:
            with contextlib.suppress(Error):  # a redirect has no body
                self._bodies.append(response.text())
        self._responses.clear()
        return [*self.addresses, *self._bodies]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith((*REFUSED, *ABORTED)):
            self.complaints.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # Leaving a page aborts its running poll.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self.complaints.append(f"network: {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        self.addresses.append(response.url)
        self._responses.append(response)
        if response.status >= 400 and response.status not in self.expected:
            self.complaints.append(f"answer: {response.status} {response.url}")
