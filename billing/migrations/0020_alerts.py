"""The alerts that accounts want, and what was told of keys."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """A new table, and columns that the release before this one leaves as they are."""

    dependencies = [
        ("billing", "0019_entries_of_people"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="told_percent",
            field=models.SmallIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="told_since",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.CreateModel(
            name="AlertSettings",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="billing.account",
                    ),
                ),
                ("low_balance_micros", models.BigIntegerField(blank=True, null=True)),
                ("low_balance_told_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "key_percents",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.SmallIntegerField(), size=None
                    ),
                ),
                ("email", models.EmailField(blank=True, max_length=254)),
            ],
            options={
                "verbose_name_plural": "alert settings",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("low_balance_micros__isnull", True),
                            ("low_balance_micros__gt", 0),
                            _connector="OR",
                        ),
                        name="alertsettings_low_balance",
                    )
                ],
            },
        ),
    ]
