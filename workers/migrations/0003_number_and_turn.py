from django.db import migrations, models
from django.db.models import Q

NUMBER = """
UPDATE workers_generation g SET number = n.number, turn_at = g.created_at FROM (
    SELECT id, row_number() OVER (PARTITION BY account_id ORDER BY id) AS number FROM workers_generation
) AS n WHERE n.id = g.id
"""


class Migration(migrations.Migration):
    dependencies = [("workers", "0002_idempotency_keys"), ("billing", "0004_account_holds")]

    operations = [
        migrations.AddField("generation", "number", models.BigIntegerField(null=True)),
        migrations.AddField("generation", "turn_at", models.DateTimeField(null=True)),
        migrations.RunSQL(NUMBER, migrations.RunSQL.noop),
        migrations.AlterField("generation", "number", models.BigIntegerField()),
        migrations.AlterField("generation", "turn_at", models.DateTimeField()),
        migrations.RemoveIndex("generation", "generation_history"),
        migrations.AddConstraint(
            "generation",
            models.UniqueConstraint(fields=["account", "number"], name="generation_number_once"),
        ),
        migrations.AddIndex(
            "generation",
            models.Index("turn_at", "id", name="generation_turn", condition=Q(status="queued")),
        ),
    ]
