"""The tables of people: who belongs to which account, and who is invited to one."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Role(models.TextChoices):
    """The roles of people in an account. `memberships.grants_of` says what each may do."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person's place in an account. Only `memberships` and `invitations` write it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    account = models.ForeignKey("billing.Account", on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """One role for each person in an account."""

        constraints = [
            models.UniqueConstraint(name="membership_once", fields=["user", "account"]),
            models.CheckConstraint(name="membership_role", condition=Q(role__in=Role.values)),
        ]

    def __str__(self) -> str:
        return f"{self.role} of account {self.account_id}"


class Invitation(models.Model):
    """An invitation into an account, for whoever has its link. It is used once, or revoked."""

    account = models.ForeignKey("billing.Account", on_delete=models.PROTECT, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=6, choices=Role)
    # SHA-256 of the token in hex. The token itself is in the link alone.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.CharField(max_length=150, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", editable=False
    )
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        """The role is one of those there are, and an invitation ends in one way."""

        constraints = [
            models.CheckConstraint(name="invitation_role", condition=Q(role__in=Role.values)),
            models.CheckConstraint(
                name="invitation_ends_once",
                condition=Q(accepted_at__isnull=True) | Q(revoked_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"invitation of {self.email} to account {self.account_id}"
