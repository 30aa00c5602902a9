"""Records what pages report and fetch: console errors, failed requests, error statuses, and all replies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response

# The browser and htmx also log an error status to the console; `_answered` checks the status itself.
REFUSED = ("Failed to load resource: the server responded with a status of", "Response Status Error Code")
# htmx logs these when a later request replaces a running one; `_failed` sees requests that really fail.
ABORTED = ("htmx:afterRequest", "htmx:sendAbort")
LOG_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


class PageMonitor:
    """Collects `complaints` about the pages that it follows."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self.expected: set[int] = set()
        self._responses: list[Response] = []
        self._bodies: list[str] = []

    def follow(self, page: Page) -> None:
        page.add_init_script(LOG_VIOLATIONS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(f"script: {error}"))
        page.on("requestfailed", self._on_request_failed)
        page.on("response", self._on_response)

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

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith((*REFUSED, *ABORTED)):
            self.errors.append(f"console: {message.text}")

    def _on_request_failed(self, request: Request) -> None:
        # Leaving a page aborts its running poll.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self.errors.append(f"network: {request.url} {request.failure}")

    def _on_response(self, response: Response) -> None:
        self.addresses.append(response.url)
        self._responses.append(response)
        if response.status >= 400 and response.status not in self.expected:
            self.errors.append(f"answer: {response.status} {response.url}")
