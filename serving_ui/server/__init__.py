"""The HTTP server: HTTP/1.1 on uvicorn, listening sockets, and the end of a process without failing a request."""
