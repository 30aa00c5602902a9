"""The model Chore is now WorkerHeartbeat, with the same table: nothing is done in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0010_revisions_moved"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel("Chore", "WorkerHeartbeat"),
                migrations.AlterModelTable("WorkerHeartbeat", "endpoints_chore"),
            ],
        ),
    ]
