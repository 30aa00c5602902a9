"""The addresses of the pages. The name of an address is its view's; every view declares its policy."""

from __future__ import annotations

from django.urls import path

from serving_ui.pages.views import (
    access,
    actions,
    create,
    detail,
    docs,
    edit,
    listing,
    local_models,
    model_hosts,
    models,
    my_models,
    query,
    secrets,
    sessions,
)

ENDPOINT = "ml/endpoints/<str:name>"

urlpatterns = [
    path("", listing.home, name="home"),
    path("ml/endpoints", listing.endpoint_list, name="endpoint-list"),
    path("ml/endpoints/create", create.endpoint_create, name="endpoint-create"),
    path("ml/endpoints/create/fields", create.endpoint_fields, name="endpoint-fields"),
    path("ml/endpoints/create/check-name", create.check_name, name="endpoint-check-name"),
    path("ml/foundation-models", models.model_list, name="endpoint-models"),
    path(ENDPOINT, detail.endpoint_detail, name="endpoint-detail"),
    path(f"{ENDPOINT}/state", detail.endpoint_state, name="endpoint-state"),
    path(f"{ENDPOINT}/logs", detail.endpoint_logs, name="endpoint-logs"),
    path(f"{ENDPOINT}/edit", edit.endpoint_edit, name="endpoint-edit"),
    path(f"{ENDPOINT}/edit/fields", edit.edit_fields, name="endpoint-edit-fields"),
    path(f"{ENDPOINT}/cancel", actions.cancel, name="endpoint-cancel"),
    path(f"{ENDPOINT}/retry", actions.retry, name="endpoint-retry"),
    path(f"{ENDPOINT}/take-over", actions.take_over, name="endpoint-take-over"),
    path(f"{ENDPOINT}/stop", actions.stop, name="endpoint-stop"),
    path(f"{ENDPOINT}/start", actions.start, name="endpoint-start"),
    path(f"{ENDPOINT}/delete", actions.delete, name="endpoint-delete"),
    path(f"{ENDPOINT}/permissions", access.permissions, name="endpoint-permissions"),
    path(f"{ENDPOINT}/query", query.endpoint_query, name="endpoint-query"),
    path("ml/model-hosts", model_hosts.host_list, name="model-hosts"),
    path("ml/local-models/start", local_models.start, name="local-models-start"),
    path("ml/local-models/stop", local_models.stop, name="local-models-stop"),
    path("ml/model-hosts/servers", model_hosts.host_servers, name="model-host-servers"),
    path("ml/model-hosts/add", model_hosts.host_add, name="model-host-add"),
    path("ml/model-hosts/<str:name>/edit", model_hosts.host_edit, name="model-host-edit"),
    path("ml/model-hosts/<str:name>/delete", model_hosts.host_delete, name="model-host-delete"),
    path("ml/model-hosts/<str:name>/check", model_hosts.host_check, name="model-host-check"),
    path("ml/models", my_models.my_models, name="my-models"),
    path("ml/models/register", my_models.model_register, name="model-register"),
    path("ml/models/<str:name>/versions/<str:version>/delete", my_models.model_delete, name="model-delete"),
    path("ml/secrets", secrets.secret_list, name="secrets"),
    path("ml/secrets/scopes", secrets.scope_create, name="secret-scope-create"),
    path("ml/secrets/<str:scope>/put", secrets.secret_put, name="secret-put"),
    path("ml/secrets/<str:scope>/delete", secrets.secret_delete, name="secret-delete"),
    path("docs", docs.docs, name="docs"),
    path("docs/<str:name>", docs.docs_page, name="docs-page"),
    path("settings", access.settings_page, name="settings"),
    path("sign-in", sessions.sign_in, name="sign-in"),
    path("sign-out", sessions.sign_out, name="sign-out"),
    path("welcome/<str:value>", sessions.welcome, name="welcome"),
]
