"""The grants of a key, its former text after a rotation, and the counters of its holds."""

import django.contrib.postgres.fields
import django.db.models.expressions
import django.db.models.functions.math
import django.db.models.lookups
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

import billing.models


class Migration(migrations.Migration):
    """Columns that the release before this one leaves as they are, in a table that is small."""

    dependencies = [
        ("billing", "0011_validate_keys_of_holds"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="allowed_ips",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=43), blank=True, null=True, size=None
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="allowed_models",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=200), blank=True, null=True, size=None
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="counted_since",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="former_digest",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="apikey",
            name="former_pepper",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=8),
        ),
        migrations.AddField(
            model_name="apikey",
            name="former_until",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="held_micros",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="metadata",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="apikey",
            name="open_hold_count",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="open_limit",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="requests_per_minute",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=16),
                db_default=models.Value("{generate,read,delete,usage}"),
                default=billing.models._default_scopes,
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="spend_ceiling_micros",
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="spend_limit_micros",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="spend_period",
            field=models.CharField(
                choices=[("day", "Day"), ("month", "Month"), ("total", "Total")],
                db_default="month",
                default="month",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="spent_micros",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        AddConstraintNotValid(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("held_micros__gte", 0), ("open_hold_count__gte", 0), ("spent_micros__gte", 0)
                ),
                name="apikey_counters_not_negative",
            ),
        ),
        AddConstraintNotValid(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("spend_ceiling_micros__isnull", True),
                    (
                        "spend_ceiling_micros__gte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("held_micros"), "+", models.F("spent_micros")
                        ),
                    ),
                    _connector="OR",
                ),
                name="apikey_within_spend_limit",
            ),
        ),
        AddConstraintNotValid(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("requests_per_minute__isnull", True),
                        ("requests_per_minute__gte", 1),
                        _connector="OR",
                    ),
                    models.Q(("open_limit__isnull", True), ("open_limit__gte", 1), _connector="OR"),
                    models.Q(
                        ("spend_limit_micros__isnull", True),
                        models.Q(
                            ("spend_limit_micros__gt", 0),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("spend_limit_micros"), 100), 0
                            ),
                        ),
                        _connector="OR",
                    ),
                ),
                name="apikey_limits",
            ),
        ),
        AddConstraintNotValid(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("spend_period__in", ["day", "month", "total"])),
                name="apikey_spend_period",
            ),
        ),
    ]
