"""Settings of the whole product, read from the environment (prefix `SERVING_UI_`).

One file, twelve-factor: a value that cannot be used stops the start with a sentence. Decides nothing at run time.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from cryptography.fernet import Fernet
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from serving_ui.lib import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(env.text("DATA", str(BASE_DIR / "data"))).resolve()
DATA.mkdir(mode=0o700, parents=True, exist_ok=True)


def key_file(name: str, make: str) -> str:
    """The key in DATA/<name>, made at the first run and readable by its owner alone."""
    path = DATA / name
    if not path.exists():
        try:
            with path.open("x") as file:
                path.chmod(0o600)
                file.write(make)
        except FileExistsError:  # another process of the same start was quicker
            pass
    return path.read_text().strip()


HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8080)
DEBUG = env.flag("DEBUG", False)
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound to)
ON_LOOPBACK = HOST in ("127.0.0.1", "::1", "localhost")
SECRET_KEY = env.text("SECRET_KEY") or key_file("session.key", secrets.token_urlsafe(50))
# One line a key, `<id> <key>`; the first line encrypts, all of them decrypt.
VAULT_KEYS = (
    env.text("VAULT_KEYS")
    or key_file("vault.key", f"{secrets.token_hex(4)} {Fernet.generate_key().decode()}\n")
).splitlines()
PASS_KEY = SECRET_KEY.encode()

ALLOWED_HOSTS = list(env.listing("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]", HOST)))
PUBLIC_URL = env.text("PUBLIC_URL").rstrip("/")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
SECURE = PUBLIC_URL.startswith("https://")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("BEHIND_PROXY", False) else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "serving_ui_session", "serving_ui_csrf"
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
    "serving_ui.endpoints",
    "serving_ui.usage",
    "serving_ui.api",
    "serving_ui.pages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
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
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

DATABASES = {
    "default": dj_database_url.parse(env.text("DATABASE_URL") or f"sqlite:///{DATA / 'serving_ui.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Immediate: a transaction that reads and then writes must not find out at the write that another one won.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
    }
    # A file, as in production: tests have threads and processes, and each opens its own connection.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA / "test.sqlite3")}
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that is gone without a word is noticed in half a minute, not in hours. What the address says wins.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # milliseconds
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["serving_ui.accounts.sessions.LinkBackend"]
LOGIN_URL = "sign-in"
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
BROKER_URL = env.text("BROKER_URL") or "filesystem://localhost"
BROKER_FOLDER = DATA / "broker"
SWEEP_SECONDS = 1.0
# Where gateway processes count rate limits together. Without it each admits its share.
REDIS_URL = env.text("REDIS_URL") or (
    BROKER_URL if urlsplit(BROKER_URL).scheme in ("redis", "rediss") else ""
)
if REDIS_URL and not (urlsplit(REDIS_URL).scheme in ("redis", "rediss") and urlsplit(REDIS_URL).hostname):
    raise env.EnvError(
        "SERVING_UI_REDIS_URL is not an address of Redis. Use one such as redis://127.0.0.1:6379/0."
    )

# The gateway: where pages find it, what it may reach, and where vendors stand.
GATEWAY_URL = (
    env.text("GATEWAY_URL") or f"http://{'127.0.0.1' if HOST in ANY_ADDRESS else HOST}:{PORT}"
).rstrip("/")
VENDOR_ADDRESSES = {
    name.lower().replace("_", "-"): url.rstrip("/")
    for name, url in env.starting_with("BASE_URL_").items()
    if url
}
VENDOR_ADDRESSES.setdefault("sandbox", f"http://127.0.0.1:{PORT}")
for _name, _url in VENDOR_ADDRESSES.items():
    if urlsplit(_url).scheme not in ("http", "https") or not urlsplit(_url).hostname:
        raise env.EnvError(
            f"SERVING_UI_BASE_URL for {_name} is {_url!r}. Use an address such as http://127.0.0.1:9000."
        )
EGRESS_LISTED = (*env.listing("EGRESS_ALLOW"), *(urlsplit(url).netloc for url in VENDOR_ADDRESSES.values()))
EGRESS_LOOPBACK = env.flag("EGRESS_LOOPBACK", ON_LOOPBACK)
USAGE_ROW_DAYS = env.days("USAGE_ROW_DAYS", 14)
USAGE_MINUTE_DAYS = env.days("USAGE_MINUTE_DAYS", 400, least=USAGE_ROW_DAYS)  # a sum outlives what it sums up
SNAPSHOT_COPY = (
    DATA / "gateway" / "snapshot"
)  # encrypted; a gateway starts from it while the database is away
SPOOL_FOLDER = DATA / "spool"  # what gateways have answered and the worker has not yet put into the database
METRICS_FOLDER = DATA / "metrics"  # what each gateway process has counted, for the others to add
METRICS = env.choice("METRICS", ("admin", "open"))  # who may read /metrics
OTLP_ENDPOINT = env.text("OTLP_ENDPOINT").rstrip("/")  # a collector for traces, such as http://127.0.0.1:4318
if OTLP_ENDPOINT and urlsplit(OTLP_ENDPOINT).scheme not in ("http", "https"):
    raise env.EnvError(
        f"SERVING_UI_OTLP_ENDPOINT is {OTLP_ENDPOINT!r}. Use an address such as http://127.0.0.1:4318."
    )
CHECK_DEADLINE_SECONDS = env.integer("CHECK_DEADLINE_SECONDS", 60)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # An answer of 4xx is the page's way of saying no; what is worth a line is an error of ours.
    "loggers": {"django.request": {"level": "ERROR"}},
    "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "WARNING").upper()},
}
