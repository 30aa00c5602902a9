"""The models come from the app `endpoints` with their tables, which stay as they are: nothing is done in the database.

Depends on the last migration of `endpoints` that changed one of the three tables.
"""

from django.db import migrations, models

ID = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("endpoints", "0006_timeouts_and_shares"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Revision",
                    fields=[("id", ID), ("number", models.PositiveBigIntegerField(default=1))],
                    options={"db_table": "endpoints_revision"},
                ),
                migrations.CreateModel(
                    name="Change",
                    fields=[
                        ("id", ID),
                        ("revision", models.PositiveBigIntegerField(db_index=True)),
                        ("kind", models.CharField(max_length=12)),
                        ("subject", models.CharField(blank=True, max_length=260)),
                    ],
                    options={"db_table": "endpoints_change"},
                ),
                migrations.CreateModel(
                    name="GatewayProcess",
                    fields=[
                        ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                        ("revision", models.PositiveBigIntegerField()),
                        ("seen_at", models.DateTimeField()),
                        ("limits", models.CharField(default="own", max_length=6)),
                    ],
                    options={"db_table": "endpoints_gatewayprocess"},
                ),
            ],
        ),
    ]
