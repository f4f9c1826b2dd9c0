"""Settings of the usual service: Django's own, without the applications and middleware that an API does not need."""

import os

import dj_database_url

SECRET_KEY = FERNET_KEY = os.environ["USUAL_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "bench.baselines.usual_service.views"
INSTALLED_APPS = ["rest_framework", "bench.baselines.usual_service"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
DATABASES = {"default": dj_database_url.config(conn_max_age=60)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}
}
MEDIA_ROOT = os.environ["USUAL_FOLDER"]
USE_TZ = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["bench.baselines.usual_service.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "60/min"},
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "bench.baselines.usual_service.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
}

CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ["REDIS_URL"]

PRICES = {"512x512": "0.0254", "1024x1024": "0.0267", "1024x768": "0.0263", "768x1024": "0.0263"}
WAIT_SECONDS = 120
