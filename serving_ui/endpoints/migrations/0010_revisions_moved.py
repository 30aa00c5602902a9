"""The models of revisions are now in the app `revisions`, with the same tables: nothing is done in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0009_limit_principals"),
        ("revisions", "0001_initial"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(name="Change"),
                migrations.DeleteModel(name="GatewayProcess"),
                migrations.DeleteModel(name="Revision"),
            ],
        ),
    ]
