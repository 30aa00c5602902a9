"""Verifies an AWS signature (version 4) from the received request, as the service does.

Written from "Create a signed AWS API request", docs.aws.amazon.com, as of November 2026, without the library that signs.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from urllib.parse import quote

from tests.support.vendor import Received

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request), ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def is_signed(request: Received, *, key_id: str, secret: str, region: str, service: str) -> bool:
    """Whether this key signed exactly this request, including its host and all `x-amz-` headers."""
    found = _AUTHORIZATION.fullmatch(request.headers["authorization"])
    assert found is not None, request.headers["authorization"]
    assert (found["id"], found["region"], found["service"]) == (key_id, region, service)
    names = found["headers"].split(";")
    must = {"host", *(name for name in request.headers if name.startswith("x-amz-"))}
    assert must <= set(names), f"{must - set(names)} are not signed"
    path, _, query = request.path.partition("?")
    assert not query
    canonical = [
        request.method,
        quote(path, safe="/-_.~"),  # encoded once more than it was sent, for every service but S3
        "",
        *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
        "",
        found["headers"],
        sha256(request.body).hexdigest(),
    ]
    string_to_sign = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], found["scope"]]
    string_to_sign.append(sha256("\n".join(canonical).encode()).hexdigest())
    key = f"AWS4{secret}".encode()
    for part in (found["day"], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, "\n".join(string_to_sign).encode(), "sha256").hexdigest() == found["signature"]
