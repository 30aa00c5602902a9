"""Runs the application of test_protocol.py in its own process: `python -m tests.server.protocol_server PORT KEEP_ALIVE HEAD`, seconds.

HEAD is the deadline for a request head, and for the pauses of a body.
"""

from __future__ import annotations

import sys

import uvicorn

from serving_ui.server import protocol
from tests.server.test_protocol import app

if __name__ == "__main__":
    port, keep_alive, head = (int(each) for each in sys.argv[1:])
    protocol._HEAD_SECONDS = protocol._BODY_SECONDS = float(head)
    uvicorn.run(
        app,
        port=port,
        http=protocol.Protocol,
        loop="uvloop",
        interface="asgi3",
        ws="none",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        timeout_keep_alive=keep_alive,
    )
