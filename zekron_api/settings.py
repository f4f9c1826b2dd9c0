"""The settings of the project, read once from the environment.

Without DATABASE_URL this is a local machine, with servers, secrets and objects under `var/`.
"""

import sys
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from celery.schedules import crontab
from csp.constants import NONE, SELF

from zekron_api.config import (
    database_url,
    former_secrets,
    log_formats,
    master_keys,
    origins,
    redis_url,
    signer_files,
)
from zekron_api.config.env import (
    REQUIRED,
    Environment,
    importable,
    min_length,
    one_of,
    readable,
    web_address,
    within,
)
from zekron_api.config.storage_url import object_store
from zekron_api.local import certificate, secrets, servers

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

# ── Environment ─────────────────────────────────────────────────────────────────────────────────
env = Environment()
env.add_parser("master_keys", master_keys.parse)
env.add_parser("origins", origins.parse)
env.add_parser("former_secrets", former_secrets.parse)

# The variable DEBUG only decides whether secrets may be generated. Django's setting stays off: its debug pages are HTML
# and show settings.
LOCAL = env.bool("DEBUG", not env.str("DATABASE_URL", ""))
DEBUG = False

LOCAL_SECRETS = secrets.load_or_create(VAR_DIR) if LOCAL else secrets.NONE
SECRET_KEY = env.str(
    "SECRET_KEY", LOCAL_SECRETS.secret_key or REQUIRED, validate=min_length(former_secrets.MIN_CHARACTERS)
)
# Former secret keys, by which API keys, tokens and digests of requests are still recognised.
SECRET_KEY_FALLBACKS: list[str] = env.former_secrets("SECRET_KEY_FALLBACKS", [])
MASTER_KEYS: Mapping[str, bytes] = env.master_keys("MASTER_KEYS", LOCAL_SECRETS.master_keys or REQUIRED)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"] if LOCAL else REQUIRED)

PORT = env.int("PORT", 8000, **within(1, 65535))
PUBLIC_URL: str = env.str("PUBLIC_URL", f"http://localhost:{PORT}" if LOCAL else REQUIRED)
# django-cors-headers reads the settings that begin with CORS.
CORS_ALLOWED_ORIGINS: list[str] = env.origins("CORS_ALLOWED_ORIGINS", [])
# The default is less than the 60 seconds after which many proxies give up, so that clients get the service's own reply.
SYNC_WAIT_SECONDS = env.int("SYNC_WAIT_SECONDS", 55, **within(1, 3600))
prompt_retention_days: int | None = env.int("PROMPT_RETENTION", None, **within(1, 36500))
MODELS_FILE = env.path("MODELS_FILE", BASE_DIR / "models.toml")
DEVICE = env.str("DEVICE", "auto")
# After so many generations, or with more MiB of memory than this, a GPU worker stops and is started anew. 0 is never.
MAX_GENERATIONS_PER_WORKER = env.int("MAX_GENERATIONS_PER_WORKER", 0, **within(0, 1_000_000_000))
MAX_WORKER_MEMORY = env.int("MAX_WORKER_MEMORY", 0, **within(0, 16_777_216))
# Without keys no digests of pictures are kept, and nobody can tell which were made here.
PROVENANCE_KEYS: Mapping[str, bytes] = env.master_keys("PROVENANCE_KEYS", LOCAL_SECRETS.provenance_keys)
# The mark in the file of every picture that says that it was generated.
PROVENANCE = env.str("PROVENANCE", "xmp", **one_of("none", "xmp", "c2pa"))
c2pa_cert: Path | None = env.path("C2PA_CERT", None)
c2pa_key: Path | None = env.path("C2PA_KEY", None)
# The authorities whose signatures POST /v1/verify calls trusted.
C2PA_TRUST_ANCHORS: Path | None = env.path("C2PA_TRUST_ANCHORS", None, validate=readable)
# The operator's module that refuses requests and pictures by content, and whether work goes on if the module fails.
MODERATION = env.str("MODERATION", "", validate=importable)
MODERATION_FAILS_OPEN = env.bool("MODERATION_FAILS_OPEN", default=False)
# Webhooks may call this machine itself, also over plain HTTP and at any port. It is for development and tests alone.
WEBHOOK_ALLOW_LOOPBACK = env.bool("WEBHOOK_ALLOW_LOOPBACK", default=False)
# Models whose weights may be used commercially although the name of their licence says otherwise.
ALLOW_NONCOMMERCIAL = frozenset(env.names("ALLOW_NONCOMMERCIAL", []))
# Card payments are off without both. Each order must be within the bounds, in whole dollars.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", "")
TOP_UP_MIN_USD = env.int("TOP_UP_MIN_USD", 5, **within(1, 10_000))
TOP_UP_MAX_USD = env.int("TOP_UP_MAX_USD", 500, **within(1, 10_000))
# The page to which Stripe sends a customer back. Without it, orders of the console return to the console.
TOP_UP_RETURN_URL: str = env.str("TOP_UP_RETURN_URL", "")
# The account that pays for the pictures which visitors of the start page watch being made. Without it there are none.
SHOWCASE_ACCOUNT = env.str("SHOWCASE_ACCOUNT", "")
# Without a token /metrics is a 404.
METRICS_TOKEN = env.str("METRICS_TOKEN", "", validate=min_length(32))
# The port on which each process serves its own metrics and probes. Without it there is none.
METRICS_PORT: int | None = env.int("METRICS_PORT", None, **within(1, 65535))
METRICS_HOST = env.str("METRICS_HOST", "")
# The receiver of traces (OpenTelemetry), or none.
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "", validate=web_address)
# The receiver of reports of errors (Sentry's protocol), or none.
SENTRY_DSN = env.str("SENTRY_DSN", "", validate=web_address)
LOG_FORMAT = env.str("LOG_FORMAT", "text", **one_of(*log_formats.CLASSES))
database: dict[str, Any] = env.dj_db_url("DATABASE_URL", servers.postgres_url(VAR_DIR))
# PostgreSQL itself, where DATABASE_URL is the address of a PgBouncer.
has_pool = bool(env.str("DATABASE_DIRECT_URL", ""))
direct_database: dict[str, Any] | None = env.dj_db_url("DATABASE_DIRECT_URL") if has_pool else None
# Without an EMAIL_URL no mail is sent, and an account that asks for mail is told so.
SENDS_MAIL = bool(env.str("EMAIL_URL", ""))
email = env.dj_email_url("EMAIL_URL", "dummy:")
EMAIL_BACKEND: str = email["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = email["EMAIL_HOST"], email["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = email["EMAIL_HOST_USER"], email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = email["EMAIL_USE_TLS"], email["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", REQUIRED if SENDS_MAIL and not LOCAL else "zekron@localhost")
# Whether strangers may make an account for themselves, and whether staff need a second factor: with HTTPS they do.
SIGNUP = env.str("SIGNUP", "closed", **one_of("open", "closed"))
staff_mfa: bool | None = env.bool("STAFF_MFA", None)
REDIS_URL = env.str("REDIS_URL", servers.redis_url(VAR_DIR))
storage_url = env.str("STORAGE_URL", (VAR_DIR / "objects").as_uri())
# The errors of all variables are raised here, so the lines above must not use a value that may be missing.
env.seal()
PUBLIC_URL = PUBLIC_URL.rstrip("/")
C2PA_CERT, C2PA_KEY = signer_files.choose(
    certificate_file=c2pa_cert,
    key_file=c2pa_key,
    is_signed=PROVENANCE == "c2pa",
    make_own=partial(certificate.load_or_create, VAR_DIR) if LOCAL else None,
)
# Prompts of generations that ended this long ago are erased. Without the variable they are kept.
PROMPT_RETENTION = None if prompt_retention_days is None else timedelta(days=prompt_retention_days)

# ── Requests ────────────────────────────────────────────────────────────────────────────────────
ROOT_URLCONF = "zekron_api.urls"
ASGI_APPLICATION = "zekron_api.asgi.application"
APPEND_SLASH = False
INSTALLED_APPS = [
    "zekron_api.staff.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # allauth's pages say how long ago something was.
    "django.contrib.humanize",
    "corsheaders",
    "csp",
    "django_htmx",
    "rest_framework",
    "zekron_api",
    "workers",
    "billing",
    "storage",
    # Templates of zekron_api come before those of the same name here.
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
]
MIDDLEWARE = [
    "zekron_api.middleware.wait_in_place",
    "zekron_api.middleware.request_id",
    "corsheaders.middleware.CorsMiddleware",
    "zekron_api.middleware.openai_errors",
    "zekron_api.console.error_pages.error_pages",
    "zekron_api.middleware.error_envelope",
    "csp.middleware.CSPMiddleware",
    "zekron_api.middleware.method_keeping_redirects",
    "django.middleware.security.SecurityMiddleware",
    "zekron_api.middleware.health_probes",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "zekron_api.people.limits.LoginLimit",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "zekron_api.people.context.sign_in",
            ]
        },
    }
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
# Files that clients ask for at the root, such as /favicon.ico.
WHITENOISE_ROOT = BASE_DIR / "zekron_api" / "root"
CSRF_FAILURE_VIEW = "zekron_api.http.errors.csrf_failure"
# A request body holds up to two images of 10 MiB each in base64, and the prompt.
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["zekron_api.http.authentication.BearerKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["zekron_api.http.json_body.ObjectParser"],
    "DEFAULT_RENDERER_CLASSES": ["zekron_api.http.json_body.OrjsonRenderer"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "zekron_api.http.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.1",
    # The hook says which operations need a key.
    "AUTHENTICATION_WHITELIST": [],
    "PREPROCESSING_HOOKS": ["zekron_api.openapi.operations.add_health"],
    "POSTPROCESSING_HOOKS": ["zekron_api.openapi.document.complete"],
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
}
# Pages of the allowed origins may call the API and read these headers. A page sends its key itself, so browsers need
# not add cookies (CORS_ALLOW_CREDENTIALS).
CORS_URLS_REGEX = r"^/(v1/|mcp$)"
CORS_ALLOW_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
CORS_ALLOW_HEADERS = [
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "if-range",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "prefer",
    "range",
    "traceparent",
    "x-request-id",
]
CORS_EXPOSE_HEADERS = [
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
    "X-Zekron-Cost",
    "X-Zekron-Webhook-Disabled",
    "X-Zekron-Remaining-Balance",
    "X-Zekron-Retry-Attached",
    "x-should-retry",
]
# The published limits of an account: 60 requests in any 60 seconds and 5 open generations.
REQUESTS_PER_MINUTE = 60
POLLS_PER_MINUTE = 600
VERIFICATIONS_PER_MINUTE = 60
# Requests of the console's scripts, which watch and show many pictures at once.
CONSOLE_REQUESTS_PER_MINUTE = 1200
# Forms that the people of an account send in the console. Some of them send events and mails to others.
ACTS_PER_MINUTE = 60
# Messages of MCP clients, of which several belong to one call of a tool.
MESSAGES_PER_MINUTE = 600
OPEN_GENERATIONS_LIMIT = 5
# A code has 150 random bits. A customer mistypes one now and then, and many customers may share one address.
FAILED_REDEMPTIONS_PER_HOUR_OF_ACCOUNT = 10
FAILED_REDEMPTIONS_PER_HOUR_OF_ADDRESS = 100
# Pictures of the start page, for the visitors of one address and for all.
SHOWCASE_PICTURES_PER_HOUR_OF_ADDRESS = 10
SHOWCASE_PICTURES_PER_HOUR = 200
# The limit of an account's open asynchronous generations.
QUEUE_LIMIT = 100

# ── Databases and storage ───────────────────────────────────────────────────────────────────────
DATABASES = {"default": database_url.entry(database, direct=direct_database)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The limits of sign-ins count here, for all web processes and also while Redis is away. They admit a few thousand live
# entries. A full cache would drop some that still count, and a larger one is counted more slowly.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "zekron_cache",
        "OPTIONS": {"MAX_ENTRIES": 50_000},
    }
}
STORAGES = {
    "objects": object_store(storage_url),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# ── Celery ──────────────────────────────────────────────────────────────────────────────────────
# The generation's row is the truth and a message only announces it, so Celery keeps no results.
CELERY_BROKER_URL = redis_url.celery_broker_url(REDIS_URL)
CELERY_BROKER_USE_SSL = redis_url.celery_tls(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "chores"
CELERY_TASK_ROUTES = {"workers.tasks.generate": {"queue": "gpu"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Celery would close a thread's database connection around every task, or after this many. Connections are kept instead,
# and zekron_api/celery.py has Django replace broken ones before a task.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 60.0
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Redis does not track which worker holds which message, which would be half of all commands to it. The messages of
    # a worker that dies are lost, and the sweep and beat send them again.
    "ack_emulation": False,
    # Without a timeout a half-open connection makes a publish hang for ever.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # A publish that finds no broker fails at once: kombu would connect again for six seconds while a request waits.
    "max_retries": 0,
    "health_check_interval": 10,
}
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep": {"task": "workers.tasks.sweep", "schedule": timedelta(seconds=5), "options": {"expires": 5}},
    # A time of the clock, because an interval would begin again with each start of beat.
    "audit": {
        "task": "workers.tasks.audit_ledger",
        "schedule": crontab(minute=17),
        "options": {"expires": 3600},
    },
    "check_card_payments": {
        "task": "billing.tasks.check_card_payments",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    "alerts": {"task": "workers.tasks.tell_alerts", "schedule": crontab(), "options": {"expires": 60}},
    "usage": {"task": "workers.tasks.roll_up_usage", "schedule": crontab(), "options": {"expires": 60}},
    "clear_sessions": {
        "task": "zekron_api.tasks.clear_sessions",
        "schedule": crontab(minute=41),
        "options": {"expires": 3600},
    },
    "purge": {"task": "storage.tasks.purge", "schedule": timedelta(seconds=30), "options": {"expires": 30}},
    "purge_webhooks": {
        "task": "workers.tasks.purge_webhooks",
        "schedule": timedelta(seconds=30),
        "options": {"expires": 30},
    },
    "remove_orphans": {
        "task": "storage.tasks.remove_orphans",
        "schedule": crontab(minute="*/15"),
        "options": {"expires": 900},
    },
}

# ── Security ────────────────────────────────────────────────────────────────────────────────────
# uvicorn takes scheme and client from the X-Forwarded-… headers of a proxy whose address is in FORWARDED_ALLOW_IPS.
# Django itself trusts no header, because any client that reaches the port directly could send one.
HTTPS = PUBLIC_URL.startswith("https://")
SECURE_SSL_REDIRECT = HTTPS
# Load balancers and Prometheus request these inside the network over plain HTTP, and the replies hold no secret.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
SILENCED_SYSTEM_CHECKS = [
    # HSTS for subdomains and preload lists would also bind other services under the same domain.
    "security.W005",
    "security.W021",
]
# The admin loads only files of this server and has no inline script or style. The reference page and images set
# stricter policies of their own.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
# Lax, because a customer comes back from the page of a payment, or from a mail, and is still signed in.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Staff and owners move money, so a session lasts half a working day at most, and ends when the browser closes.
SESSION_COOKIE_AGE = 4 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
AUTHENTICATION_BACKENDS = ["zekron_api.people.backend.PersonBackend"]
# So many failures with one name from one address lock out that pair, and nobody else, for so long.
LOGIN_FAILURES = 5
LOGIN_LOCKOUT = timedelta(minutes=15)
# Each login costs half a second of processor time, whether it succeeds or not. The limit of a name is above the limit
# of an address, so that one address cannot keep the owner of a name out.
LOGINS_PER_MINUTE_OF_ADDRESS = 10
LOGINS_PER_MINUTE_OF_NAME = 20
LOGINS_PER_MINUTE = 40
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# ── People ──────────────────────────────────────────────────────────────────────────────────────
# django-allauth reads the settings that begin with ACCOUNT and MFA.
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/console/"
STAFF_MFA = HTTPS if staff_mfa is None else staff_mfa
ACCOUNT_ADAPTER = "zekron_api.people.adapter.PersonAdapter"
ACCOUNT_FORMS = {
    "login": "zekron_api.people.forms.LoginForm",
    "signup": "zekron_api.people.forms.SignUpForm",
}
ACCOUNT_LOGIN_METHODS = {"email", "username"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_MAX_EMAIL_ADDRESSES = 5
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
# An address that nobody can be asked about needs no answer. The adapter says whose must be confirmed.
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if SENDS_MAIL else "none"
ACCOUNT_LOGIN_BY_CODE_ENABLED = SENDS_MAIL
ACCOUNT_EMAIL_NOTIFICATIONS = SENDS_MAIL
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
# Money and second factors ask again for proof after so many seconds.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
# The limit of failed codes of a second factor is that of failed passwords, and the one of logins is LOGINS_PER_MINUTE.
ACCOUNT_RATE_LIMITS = {
    "login": None,
    "login_failed": f"{LOGIN_FAILURES}/{LOGIN_LOCKOUT.total_seconds():.0f}s/key",
    "signup": "10/m/ip",
    "request_login_code": "10/m/ip,3/m/key",
    "reset_password": "10/m/ip,3/m/key",
}
MFA_ADAPTER = "zekron_api.people.second_factor.SealingAdapter"
MFA_FORMS = {
    "add_webauthn": "zekron_api.people.passkey_forms.AddForm",
    "login_webauthn": "zekron_api.people.passkey_forms.LoginForm",
    "authenticate_webauthn": "zekron_api.people.passkey_forms.AuthenticateForm",
    "reauthenticate_webauthn": "zekron_api.people.passkey_forms.ReauthenticateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Zekron"
# An unconfirmed address cannot sign in where addresses are confirmed, so a second factor keeps out nobody else.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Browsers allow passkeys on http://localhost, and only there without HTTPS.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS

# ── Time, logs ──────────────────────────────────────────────────────────────────────────────────
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
# Every time on the staff's pages says its zone.
FORMAT_MODULE_PATH = "zekron_api.formats"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "class": log_formats.CLASSES[LOG_FORMAT],
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "filters": {
        "without_paths": {"()": "zekron_api.ops.log_redaction.WithoutPaths"},
        "without_traceback": {"()": "zekron_api.ops.log_redaction.WithoutTraceback"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        # Django's handlers would mail each exception with the values of its local variables.
        "django": {"handlers": [], "level": "INFO"},
        # uvicorn's handlers would write the messages of exceptions.
        "uvicorn": {"handlers": [], "propagate": True},
        # uvicorn's lines hold the whole path, and so the token of an image. The lines of request_id hold the route.
        "uvicorn.access": {"handlers": [], "propagate": False},
        # At DEBUG Pillow writes a source image's metadata.
        "PIL": {"level": "INFO"},
        # At DEBUG botocore writes requests with their signatures.
        "botocore": {"level": "INFO"},
        # At INFO Celery writes two lines for each task, which cost more than its message. Our own lines say what a task
        # did, and its failure is an ERROR of the second logger.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        # At DEBUG httpcore writes the signatures of webhooks.
        "httpcore2": {"level": "INFO"},
        # At INFO httpx2 writes a line for each request to a remote engine.
        "httpx2": {"level": "WARNING"},
        # At INFO the MCP SDK announces each message, and at DEBUG it writes them.
        "mcp": {"level": "WARNING"},
        "django.request": {"filters": ["without_paths"]},
        # Anyone may send any host.
        "django.security.DisallowedHost": {"filters": ["without_traceback"]},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
