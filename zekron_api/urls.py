"""The routes of the service."""

from django.contrib import admin
from django.urls import include, path

from zekron_api.endpoints import (
    alerts,
    api_keys,
    cancel_generation,
    export_usage,
    generate,
    list_generations,
    list_ledger,
    list_models,
    monthly_statement,
    quote,
    redeem_code,
    stripe_webhook,
    top_ups,
    usage,
    verify,
    views,
    watch_generation,
    webhooks,
)
from zekron_api.mcp_server.view import McpView
from zekron_api.openai import views as openai
from zekron_api.openapi import document, reference
from zekron_api.ops import health, prometheus

urlpatterns = [
    path("", include("zekron_api.home.urls")),
    path("v1/generate", generate.GenerateView.as_view()),
    path("v1/quote", quote.QuoteView.as_view()),
    path("v1/verify", verify.VerifyView.as_view()),
    path("v1/models", list_models.ModelListView.as_view()),
    path("v1/models/<str:model_id>", list_models.ModelView.as_view()),
    path("v1/images/generations", openai.CreateImageView.as_view()),
    path("v1/images/edits", openai.EditImageView.as_view()),
    path("v1/images/variations", openai.VariationView.as_view()),
    path("v1/images/<str:token>", views.ImageView.as_view()),
    path("v1/keys", api_keys.KeyListView.as_view()),
    path("v1/keys/<str:key_id>", api_keys.KeyView.as_view()),
    path("v1/keys/<str:key_id>/rotate", api_keys.RotateKeyView.as_view()),
    path("v1/alerts", alerts.AlertsView.as_view()),
    path("v1/balance", views.BalanceView.as_view()),
    path("v1/redemptions", redeem_code.RedemptionView.as_view()),
    path("v1/top-ups", top_ups.TopUpsView.as_view()),
    path("v1/top-ups/<str:top_up_id>", top_ups.TopUpView.as_view()),
    path("stripe/webhook", stripe_webhook.receive),
    path("v1/generations", list_generations.HistoryView.as_view()),
    path("v1/generations/<str:generation_id>", watch_generation.GenerationView.as_view()),
    path("v1/generations/<str:generation_id>/cancel", cancel_generation.CancelView.as_view()),
    path("v1/generations/<str:generation_id>/events", watch_generation.EventsView.as_view()),
    path("v1/usage", usage.UsageView.as_view()),
    path("v1/usage/export", export_usage.ExportView.as_view()),
    path("v1/ledger", list_ledger.LedgerView.as_view()),
    path("v1/statements/<str:month>", monthly_statement.StatementView.as_view()),
    path("v1/webhooks", webhooks.WebhooksView.as_view()),
    path("v1/webhooks/secret", webhooks.SecretView.as_view()),
    path("v1/webhooks/<str:webhook_id>", webhooks.WebhookView.as_view()),
    path("v1/webhooks/<str:webhook_id>/rotate", webhooks.RotateView.as_view()),
    path("v1/webhooks/<str:webhook_id>/test", webhooks.TestView.as_view()),
    path("v1/webhooks/<str:webhook_id>/recover", webhooks.RecoverView.as_view()),
    path("v1/webhooks/<str:webhook_id>/deliveries", webhooks.DeliveriesView.as_view()),
    path("v1/webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/replay", webhooks.ReplayView.as_view()),
    path("mcp", McpView.as_view()),
    path("v1/openapi.json", document.serve),
    path("docs", reference.serve),
    # The middleware health_probes answers these three before they get here.
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("metrics", prometheus.serve),
    path("console/", include("zekron_api.console.urls")),
    path("", include("zekron_api.people.urls")),
    path("admin/", admin.site.urls),
]
handler400 = "zekron_api.http.errors.bad_request"
handler403 = "zekron_api.http.errors.permission_denied"
handler404 = "zekron_api.http.errors.not_found"
handler429 = "zekron_api.http.errors.too_many_requests"
handler500 = "zekron_api.http.errors.server_error"
