"""Settings of the whole product, read from the environment (prefix `SERVING_UI_`).

An invalid value aborts the start with a message.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from cryptography.fernet import Fernet
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.gateway.redis_connection import RedisAddress
from serving_ui.lib import env, http_url, request
from serving_ui.lib.key_file import read_or_create
from serving_ui.server.address import ListenAddress
from serving_ui.vault.ciphers import KeyRing

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(
    env.text(
        "DATA",
        str(BASE_DIR / "data"),
        shown="./data",
        about="Data folder: SQLite database, keys (mode 0600), broker files, usage spool, snapshot cache, static files.",
    )
).resolve()
try:
    DATA.mkdir(mode=0o700, parents=True, exist_ok=True)
except OSError as _error:
    raise env.EnvError(
        f"SERVING_UI_DATA is {DATA}, which cannot be created ({(_error.strerror or '').lower()}). Name another folder."
    ) from None

HOST = env.host("HOST", "127.0.0.1", about="Address to listen on, same as `--host`.")
PORT = env.port("PORT", 8080, about="Port to listen on, same as `--port`.")
DEBUG = env.flag("DEBUG", False, about="1 shows tracebacks of errors in the browser. For development only.")
ON_LOOPBACK = HOST in ("127.0.0.1", "::1", "localhost")
SECRET_KEY = env.text(
    "SECRET_KEY",
    shown="created in `DATA` at the first start",
    about="Key that signs sessions and forms, 32 characters or more.",
) or read_or_create(DATA / "session.key", secrets.token_urlsafe(50))
if len(SECRET_KEY) < 32 or len(set(SECRET_KEY)) < 5:
    raise env.EnvError(
        "SERVING_UI_SECRET_KEY is too short to be secret. Use 32 random characters or more, such as the output of "
        "`openssl rand -base64 48`."
    )
# One line for each key, `<id> <key>`; the first key encrypts, all of them decrypt.
VAULT_KEYS = (
    env.text(
        "VAULT_KEYS",
        shown="created in `DATA` at the first start",
        about="Keys of the secrets: one line `<id> <key>` each. The first encrypts, all of them decrypt.",
    )
    or read_or_create(DATA / "vault.key", f"{secrets.token_hex(4)} {Fernet.generate_key().decode()}\n")
).splitlines()
try:
    KeyRing(VAULT_KEYS)
except env.EnvError as _error:
    raise env.EnvError(f"SERVING_UI_VAULT_KEYS, or else the file {DATA / 'vault.key'}: {_error}") from None
SESSION_TOKEN_KEY = SECRET_KEY.encode()

PUBLIC_URL = env.url(
    "PUBLIC_URL",
    about="Address that people use when a proxy stands before the server: scheme, host and port, no path. https makes cookies secure.",
)
ALLOWED_HOSTS = env.hosts(
    "ALLOWED_HOSTS",
    ("localhost", "127.0.0.1", "[::1]", HOST),
    shown="localhost, 127.0.0.1, [::1] and `HOST`",
    about="Host names that requests may use, separated by commas. `.example.com` allows a whole domain. The host of `PUBLIC_URL` is always allowed.",
)
if _public := urlsplit(PUBLIC_URL).hostname:
    ALLOWED_HOSTS.append(f"[{_public}]" if ":" in _public else _public)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
SECURE = PUBLIC_URL.startswith("https://")
BEHIND_PROXY = env.flag(
    "BEHIND_PROXY", False, about="1 trusts `X-Forwarded-Proto` of the proxy before the server."
)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "serving_ui_session", "serving_ui_csrf"
CSRF_FAILURE_VIEW = "serving_ui.pages.views.sessions.csrf_failure"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials",
    "csp",
    "serving_ui.wiring.ServingUI",
    "serving_ui.accounts",
    "serving_ui.vault",
    "serving_ui.revisions",
    "serving_ui.registered_models",
    "serving_ui.endpoints",
    "serving_ui.model_hosts",
    "serving_ui.usage",
    "serving_ui.api",
    "serving_ui.pages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "serving_ui.pages.errors.RefuseUnreadable",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "serving_ui.pages.policy.DenyByDefault",
    "serving_ui.pages.in_force.InForce",
]
APPEND_SLASH = False
# Larger request bodies are refused before they reach Django, so that Django writes no body to disk.
CONTROL_BODY = request.BodyLimit(
    env.byte_size(
        "CONTROL_BODY_BYTES",
        request.CONTROL_BODY.max_bytes,
        about="Largest body of a page or API request, also once it is decompressed: 65536 to 1073741824.",
    ),
    request.CONTROL_BODY.setting,
)
QUERY_BODY = request.BodyLimit(
    env.byte_size(
        "QUERY_BODY_BYTES",
        request.QUERY_BODY.max_bytes,
        about="Largest body of a query, also once it is decompressed: 65536 to 1073741824.",
    ),
    request.QUERY_BODY.setting,
)
DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_UPLOAD_MAX_MEMORY_SIZE = CONTROL_BODY.max_bytes
FILE_UPLOAD_HANDLERS: list[str] = []  # no form has a file
DATA_UPLOAD_MAX_NUMBER_FIELDS = 3000  # an endpoint with all the limits that it may have sends 1,100
ROOT_URLCONF = "serving_ui.urls"
ASGI_APPLICATION = "serving_ui.asgi.application"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
MESSAGE_STORAGE = "serving_ui.pages.http.MessageCookie"

_url = (
    env.text("DATABASE_URL", shown="SQLite in `DATA`", about="Database: `postgres://…` or `sqlite:////…`.")
    or f"sqlite:///{DATA / 'serving_ui.sqlite3'}"
)
try:
    DATABASES = {"default": dj_database_url.parse(_url)}
    _is_usable = (
        _url.startswith(("postgres://", "postgresql://", "sqlite:////")) and DATABASES["default"]["NAME"]
    )
except (ValueError, KeyError):
    _is_usable = False
if not _is_usable:  # it may hold a password, and is never shown
    raise env.EnvError(
        "SERVING_UI_DATABASE_URL is not the address of a database. Use one such as postgres://user:password@host:5432/name, with "
        "the special characters of a password percent-encoded, or sqlite:////folder/file.sqlite3."
    )
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock at the start, so that a transaction that reads and then writes cannot fail at the write.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
    }
    # A file, as in production: tests have threads and processes, and each opens its own connection.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA / "test.sqlite3")}
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # With these, an unreachable server is detected in 10 s instead of hours. Until then a process does not reconnect: a gateway does
    # not see the changes that others make at a server that has come back with another address. Options in the address take precedence.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,  # for each address of its name
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,  # milliseconds
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["serving_ui.accounts.sessions.LinkBackend"]
LOGIN_URL = "sign-in"
SESSION_ENGINE = "serving_ui.accounts.sessions"
SESSION_COOKIE_AGE = 14 * 24 * 3600

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ja", _("Japanese"))]
LOCALE_PATHS = [BASE_DIR / "serving_ui" / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = DATA / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MAX_AGE = 3600

# Celery. The filesystem broker serves one machine; SERVING_UI_BROKER_URL=redis://… serves many.
BROKER_URL = (
    env.text(
        "BROKER_URL",
        shown="files in `DATA`",
        about="Celery broker. Several machines need `redis://…`, `rediss://…` or `amqp://…`.",
    )
    or "filesystem://localhost"
)
BROKER_FOLDER = DATA / "broker"
SWEEP_SECONDS = 1.0
# Gateway processes count rate limits in it together. Without it each process enforces its share.
REDIS_URL = env.text(
    "REDIS_URL",
    shown="`BROKER_URL` if that is Redis",
    about="Redis in which gateway processes count rate limits together: `redis://` or `rediss://`, one server (no cluster, no sentinel).",
) or (BROKER_URL if BROKER_URL.startswith(("redis://", "rediss://")) else "")
for _name, _url, _also in (
    ("BROKER_URL", BROKER_URL, ("amqp", "amqps", "filesystem")),
    ("REDIS_URL", REDIS_URL, ()),
):
    if not _url or env.split_url(_url, _also):
        continue
    try:
        RedisAddress.parse(_url)
    except ValueError:  # it may hold a password, and is never shown
        raise env.EnvError(
            f"SERVING_UI_{_name} is not an address of Redis{' or RabbitMQ' if _also else ''}. Use one such as "
            f"redis://127.0.0.1:6379/0{' or amqp://user:password@127.0.0.1:5672//' if _also else ''}."
        ) from None

# The gateway: its address for the pages, the providers' addresses, and what it may reach.
GATEWAY_URL = (
    env.url(
        "GATEWAY_URL",
        with_path=True,
        shown="this server",
        about="Address of the gateway, to which the query page sends requests.",
    )
    or ListenAddress(host=HOST, port=PORT).local_url
)
PROVIDER_ADDRESSES = env.urls(
    "BASE_URL_",
    (*PROVIDERS, "microsoft-entra"),
    about="Replaces scheme, host and port of a provider's default address, for example `BASE_URL_ANTHROPIC`. "
    "`BASE_URL_MICROSOFT_ENTRA` is the login host of `azuread`. Requests to that host and port are allowed.",
)
PROVIDER_ADDRESSES.setdefault("sandbox", f"http://127.0.0.1:{PORT}")
# Ray Serve, which runs models of one's own.
RAY_ADDRESS = env.url(
    "RAY_ADDRESS",
    about="Ray cluster that runs models of your own: the address of its dashboard, for example `http://ray-head:8265`.",
)
RAY_TOKEN = env.token(
    "RAY_TOKEN",
    about="Token of the Ray cluster, if it has `RAY_AUTH_MODE=token`: the output of `ray get-auth-token`.",
)
RAY_PROXIES = env.url_list(
    "RAY_PROXIES",
    shown="as the cluster reports them",
    about="Addresses of the Ray cluster's HTTP proxies, separated by commas, for example `http://ray-1:8000,http://ray-2:8000`. "
    "Requests to them are allowed.",
)
# Hosts that the outbound policy allows although they are not public. An address with a port allows that port only.
EGRESS_LISTED = (
    *env.networks(
        "EGRESS_ALLOW",
        about="Non-public addresses to which requests are allowed: hosts (every port), `host:port` or networks, separated by commas.",
    ),
    *(http_url.parse(url).host_and_port for url in PROVIDER_ADDRESSES.values()),
    *(http_url.parse(url).host_and_port for url in (RAY_ADDRESS, *RAY_PROXIES) if url),
)
EGRESS_LOOPBACK = env.flag(
    "EGRESS_LOOPBACK",
    ON_LOOPBACK,
    shown="1 if `HOST` is loopback",
    about="Whether requests to ports of this machine are allowed.",
)
USAGE_ROW_DAYS = env.days("USAGE_ROW_DAYS", 14, about="Days that the row of each request is kept.")
USAGE_MINUTE_DAYS = env.days(
    "USAGE_MINUTE_DAYS",
    400,
    minimum=USAGE_ROW_DAYS,  # sums are kept at least as long as their rows
    about="Days that the sums by minute are kept, no fewer than `USAGE_ROW_DAYS`.",
)
SNAPSHOT_CACHE = (
    DATA / "gateway" / "snapshot"
)  # encrypted; a gateway starts from it while the database is unreachable
SPOOL_FOLDER = DATA / "spool"  # usage rows of gateways that the worker has not yet put into the database
METRICS_FOLDER = DATA / "metrics"  # counters of each gateway process, which /metrics adds up
METRICS = env.choice(
    "METRICS",
    ("admin", "open"),
    about="`open` lets anybody read `/metrics`; `admin` requires the token of an admin.",
)
OTLP_ENDPOINT = env.url(
    "OTLP_ENDPOINT",
    with_path=True,
    about="OpenTelemetry collector that gets a span for each request, for example `http://collector:4318`.",
)
CHECK_DEADLINE_SECONDS = env.integer(
    "CHECK_DEADLINE_SECONDS",
    60,
    minimum=1,
    maximum=3600,
    about="Seconds for which an update repeats the credential check at a busy provider; then as long again for the gateway processes to load the config.",
)

DEPLOY_DEADLINE_SECONDS = env.integer(
    "DEPLOY_DEADLINE_SECONDS",
    1800,
    minimum=5,
    maximum=86_400,
    about="Seconds after which the deployment of a model of your own fails; twice as many on GPUs.",
)

MLFLOW_TRACKING_URI = env.url(
    "MLFLOW_TRACKING_URI",
    with_path=True,
    about="MLflow server whose registered models can be served, for example `http://mlflow:5000`.",
)
MLFLOW_TRACKING_TOKEN = env.token(
    "MLFLOW_TRACKING_TOKEN", about="Bearer token for that server. It is not sent to the cluster."
)
MLFLOW_TRACKING_USERNAME = env.text(
    "MLFLOW_TRACKING_USERNAME",
    about="User for that server, in place of a token. It is not sent to the cluster.",
)
MLFLOW_TRACKING_PASSWORD = env.text("MLFLOW_TRACKING_PASSWORD", about="Password of that user.")
if MLFLOW_TRACKING_TOKEN and MLFLOW_TRACKING_USERNAME:
    raise env.EnvError(
        "SERVING_UI_MLFLOW_TRACKING_TOKEN and SERVING_UI_MLFLOW_TRACKING_USERNAME are both set. Leave one of them out."
    )
if bool(MLFLOW_TRACKING_USERNAME) != bool(MLFLOW_TRACKING_PASSWORD) or ":" in MLFLOW_TRACKING_USERNAME:
    raise env.EnvError(
        "SERVING_UI_MLFLOW_TRACKING_USERNAME and SERVING_UI_MLFLOW_TRACKING_PASSWORD are set together, and the user has no colon. Correct them."
    )

LOG_LEVELS = ("warning", "debug", "info", "error", "critical")
LOG_LEVEL = env.choice("LOG_LEVEL", LOG_LEVELS, about="debug, info, warning, error or critical.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Responses with a 4xx status are expected; only errors of this server are logged.
    "loggers": {"django.request": {"level": "ERROR"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL.upper()},
}

if _warning := env.unknown_settings_warning():
    sys.stderr.write(f"{_warning}\n")
