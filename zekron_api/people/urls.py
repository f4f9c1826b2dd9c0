"""The routes of people's sign-in."""

from allauth.account import urls as account_urls
from allauth.mfa.totp.views import activate_totp
from csp.constants import SELF
from csp.decorators import csp_update
from django.urls import include, path

from zekron_api.people import views

# The picture of the secret for an app is in the page itself.
_WITH_PICTURE = csp_update({"img-src": [SELF, "data:"]})

_own = [
    path("", views.overview, name="me"),
    path("again/", views.sign_in_again, name="sign_in_again"),
    path("login/code/", views.request_login_code, name="account_request_login_code"),
    path("email/", views.email, name="account_email"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/set/", views.set_password, name="account_set_password"),
    path("2fa/totp/activate/", _WITH_PICTURE(activate_totp), name="mfa_activate_totp"),
]
urlpatterns = [
    path("sign-in/<str:token>", views.sign_in, name="sign_in"),
    path("invitations/<str:token>", views.join, name="invitation"),
    # The first route of a path serves it, so these come before the library's.
    path("me/", include(_own)),
    path("me/", include(account_urls)),
    path("me/2fa/", include("allauth.mfa.urls")),
    path("me/sessions/", include("allauth.usersessions.urls")),
]
