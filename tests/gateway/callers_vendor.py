"""A vendor for many callers, in a process of its own: `python -m tests.gateway.callers_vendor PORT`. It uses no product code.

The field `user` of a request selects how it is answered: one of MOODS. `/open` returns the number of unfinished answers, `/release`
finishes the answers of the kind `held`, `/hang-up` closes idle connections. `/v1/messages` answers with a stream of Anthropic.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from tests.support.recordings import FOLDER

BEHAVIOURS = ("whole", "stream", "held", "endless", "mute", "cut", "429", "500")
CHUNKS = 10
END = b"\r\n\r\n"
REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14}}'
)
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"token "},"finish_reason":null}]}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
ANTHROPIC = (FOLDER / "anthropic" / "stream-tools.sse").read_bytes()


class Vendor:
    """The state that all connections share."""

    def __init__(self) -> None:
        self.open = 0
        self.gate = asyncio.Event()
        self.idle: set[asyncio.StreamWriter] = set()

    async def handle_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request after another, until the client or a kind of answer closes the connection."""
        try:
            while not writer.is_closing():
                self.idle.add(writer)
                head = await reader.readuntil(END)
                self.idle.discard(writer)
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                await self._answer(head.split()[1].decode(), body, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.idle.discard(writer)
            writer.close()

    async def _answer(
        self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if path.endswith("/messages"):
            writer.write(stream_head() + chunked(ANTHROPIC) + chunked(b""))
        elif path.endswith("/completions"):
            await self._answer_completion(json.loads(body).get("user"), reader, writer)
        elif path == "/open":
            writer.write(whole(200, str(self.open).encode()))
        elif path == "/release":
            gate, self.gate = self.gate, asyncio.Event()
            gate.set()
            writer.write(whole(200, b""))
        elif path == "/hang-up":
            for each in self.idle:
                each.close()
            writer.write(whole(200, b""))
        else:  # the credential check
            writer.write(whole(200, b'{"object":"list","data":[]}'))

    async def _answer_completion(
        self, behaviour: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if behaviour in {"429", "500"}:
            writer.write(whole(int(behaviour), b'{"error":{"message":"Not now."}}'))
        elif behaviour == "whole":
            writer.write(whole(200, REPLY))
        elif behaviour == "mute":
            await self._until_left(reader)
        else:
            writer.write(stream_head() + chunked(CHUNK))
            if behaviour == "endless":
                await self._until_left(reader)
            elif behaviour == "cut":
                writer.close()
            else:
                if behaviour == "held":
                    await self._until_released()
                for _ in range(CHUNKS):
                    writer.write(chunked(CHUNK))
                    await asyncio.sleep(0)  # so that each chunk is sent by itself
                writer.write(chunked(LAST) + chunked(b""))

    async def _until_left(self, reader: asyncio.StreamReader) -> None:
        self.open += 1
        try:
            await reader.readexactly(1)
        finally:
            self.open -= 1

    async def _until_released(self) -> None:
        self.open += 1
        try:
            await self.gate.wait()
        finally:
            self.open -= 1


def whole(status: int, content: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
    return head.encode() + END + content


def stream_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked" + END


def chunked(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def main(port: int) -> None:
    server = await asyncio.start_server(Vendor().handle_connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
