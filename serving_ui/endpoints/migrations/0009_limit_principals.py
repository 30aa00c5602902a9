from django.db import migrations, models


def bind(apps, schema_editor):
    """A limit's principal is from now on whoever has the name now; a name that nobody has limits nobody, as before."""
    ids = {
        f"{kind} {name.lower()}": pk
        for kind, model, field in (("principal", "User", "email"), ("group", "Group", "name"))
        for name, pk in apps.get_model("accounts", model).objects.values_list(field, "pk")
    }
    endpoint_of = apps.get_model("endpoints", "Endpoint")
    for row in endpoint_of.objects.only("rate_limits", "ai_gateway").iterator(chunk_size=500):
        places = {"rate_limits": row.rate_limits, "ai_gateway": row.ai_gateway.get("rate_limits") or []}
        bound = {
            place: {name: ids[name] for name in map(spelled, limits) if name in ids}
            for place, limits in places.items()
        }
        if any(bound.values()):
            endpoint_of.objects.filter(pk=row.pk).update(limit_principals=bound)


def spelled(limit):
    kind = "group" if limit.get("key") == "user_group" else "principal"
    return f"{kind} {(limit.get('principal') or '').lower()}"


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_access_epoch"),
        ("endpoints", "0008_secret_bindings"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpoint",
            name="limit_principals",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.RunPython(bind, migrations.RunPython.noop),
    ]
