from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("model_hosts", "0001_initial")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="modelhost",
            name="checking_until",
            field=models.DateTimeField(null=True),
        ),
    ]
