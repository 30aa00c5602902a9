"""Environment variables of a model of one's own that decide which code runs, or where code and data come from.

Only admins register models, because a model runs code on the cluster. Who may set these variables can run other code in its place.
"""

from __future__ import annotations

_PREFIXES = (
    "LD_",
    "DYLD_",
    "PYTHON",
    "PIP_",
    "UV_",
    "CONDA_",
    "RAY_",
    "GIT_",
    "VLLM_",
    "AWS_ENDPOINT",
    "SERVING_UI_",
)
_SUFFIXES = (
    "_PROXY",
    "_ENDPOINT",
    "_ENDPOINT_URL",
    "_TRACKING_URI",
    "_REGISTRY_URI",
    "_CA_BUNDLE",
    "_CERT_FILE",
    "_CERT_DIR",
    "_CONFIG_FILE",
    "_CREDENTIALS_FILE",
    "_INSECURE_TLS",
)
_NAMES = frozenset(
    {"PATH", "HOME", "SHELL", "ENV", "BASH_ENV", "BROWSER", "TMPDIR", "VIRTUAL_ENV", "NETRC", "OPENSSL_CONF"}
)


def decides_code(name: str) -> bool:
    """Whether only an admin may set this variable. Some programs read names in lower case, too."""
    upper = name.upper()
    return upper in _NAMES or upper.startswith(_PREFIXES) or upper.endswith(_SUFFIXES)
