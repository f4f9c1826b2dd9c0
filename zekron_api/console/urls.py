"""The routes of the console."""

from django.urls import include, path

from zekron_api.console import api, billing, front, gallery, playground, statements, usage
from zekron_api.console.keys import views as keys
from zekron_api.console.people import views as people
from zekron_api.console.webhooks import log, secrets
from zekron_api.console.webhooks import views as webhooks

_API = [
    path("generate", api.Generate.as_view(), name="generate"),
    path("quote", api.Quote.as_view(), name="quote"),
    path("balance", api.Balance.as_view(), name="balance"),
    path("generations/<str:generation_id>", api.OneGeneration.as_view(), name="generation"),
    path("generations/<str:generation_id>/cancel", api.Cancel.as_view(), name="cancel"),
    path("generations/<str:generation_id>/events", api.Events.as_view(), name="events"),
    path("generations/<str:generation_id>/picture", api.Picture.as_view(), name="picture"),
    path("generations/<str:generation_id>/thumbnail", api.Thumbnail.as_view(), name="thumbnail"),
]
_GALLERY = [
    path("", gallery.serve, name="gallery"),
    path("/<int:generation_id>", gallery.show, name="gallery_item"),
    path("/<int:generation_id>/card", gallery.show_card, name="gallery_card"),
    path("/<int:generation_id>/delete", gallery.delete, name="gallery_delete"),
    path("/<int:generation_id>/cancel", gallery.cancel, name="gallery_cancel"),
]

app_name = "console"
urlpatterns = [
    path("", front.serve, name="front"),
    path("<int:account_id>/", front.open_account, name="account"),
    path("<int:account_id>/api/", include(_API)),
    path("<int:account_id>/playground", playground.serve, name="playground"),
    path("<int:account_id>/gallery", include(_GALLERY)),
    path("<int:account_id>/usage", usage.serve, name="usage"),
    path("<int:account_id>/api/usage/export", usage.ConsoleExportView.as_view(), name="usage_export"),
    path("<int:account_id>/billing", billing.serve, name="billing"),
    path("<int:account_id>/billing/redeem", billing.redeem, name="redeem"),
    path("<int:account_id>/billing/top-up", billing.top_up, name="top_up"),
    path("<int:account_id>/billing/alerts", billing.put_alerts, name="alerts"),
    path(
        "<int:account_id>/api/statements/<str:month>",
        statements.ConsoleStatementView.as_view(),
        name="statement",
    ),
    path("<int:account_id>/keys", keys.show_keys, name="keys"),
    path("<int:account_id>/keys/new", keys.create, name="key-new"),
    path("<int:account_id>/keys/<int:key_id>", keys.edit, name="key"),
    path("<int:account_id>/keys/<int:key_id>/rotate", keys.rotate, name="key-rotate"),
    path("<int:account_id>/keys/<int:key_id>/revoke", keys.revoke, name="key-revoke"),
    path("<int:account_id>/webhooks", webhooks.show_webhooks, name="webhooks"),
    path("<int:account_id>/webhooks/new", webhooks.create, name="webhook-new"),
    path("<int:account_id>/webhooks/<str:webhook_id>", log.show_webhook, name="webhook"),
    path("<int:account_id>/webhooks/<str:webhook_id>/edit", webhooks.edit, name="webhook-edit"),
    path("<int:account_id>/webhooks/<str:webhook_id>/enable", webhooks.enable, name="webhook-enable"),
    path("<int:account_id>/webhooks/<str:webhook_id>/test", webhooks.send_test, name="webhook-test"),
    path("<int:account_id>/webhooks/<str:webhook_id>/delete", webhooks.delete, name="webhook-delete"),
    path("<int:account_id>/webhooks/<str:webhook_id>/secret", secrets.reveal, name="webhook-secret"),
    path("<int:account_id>/webhooks/<str:webhook_id>/rotate", secrets.rotate, name="webhook-rotate"),
    path("<int:account_id>/webhooks/<str:webhook_id>/recover", log.recover, name="webhook-recover"),
    path(
        "<int:account_id>/webhooks/<str:webhook_id>/deliveries/<int:delivery_id>",
        log.show_delivery,
        name="webhook-delivery",
    ),
    path(
        "<int:account_id>/webhooks/<str:webhook_id>/deliveries/<int:delivery_id>/replay",
        log.replay,
        name="webhook-replay",
    ),
    path("<int:account_id>/leave", people.leave, name="leave"),
    path("<int:account_id>/people", people.show_people, name="people"),
    path("<int:account_id>/people/invite", people.invite, name="invite"),
    path("<int:account_id>/people/<int:membership_id>/role", people.change_role, name="member-role"),
    path("<int:account_id>/people/<int:membership_id>/remove", people.remove, name="member-remove"),
    path(
        "<int:account_id>/people/invitations/<int:invitation_id>/revoke",
        people.revoke_invitation,
        name="invitation-revoke",
    ),
]
