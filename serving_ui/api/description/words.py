"""What the document says of fields that the models themselves are silent about, by model and field; and the forms of names."""

from __future__ import annotations

from typing import Any

from serving_ui.catalogue.names import NAME_PATTERN

Schema = dict[str, Any]
NAME = f"^{NAME_PATTERN}$"
DESCRIPTIONS = {
    "EndpointSpec": {
        "name": "Letters, digits, hyphens and underscores, at most 63. It never changes.",
        "description": "For people.",
        "config": "What the endpoint serves.",
        "rate_limits": "Calls or tokens a minute. Of several that concern a call the strictest counts.",
        "tags": "Each key once.",
        "ai_gateway": "Its rate limits and fallback are carried out; guardrails and inference tables are kept and shown.",
        "email_notifications": "Who is to be told when an update ends. Kept and shown; this version sends no e-mail.",
        "timeouts": "How long the provider is waited for; an addition of this server.",
        "route_optimized": "Not offered: false, or left out.",
    },
    "ConfigSpec": {
        "served_entities": "An endpoint with an external model has exactly one, unless the server allows several.",
        "traffic_config": "May be left out for a single served entity, which gets everything.",
    },
    "ServedEntity": {
        "name": "Left out: the name of the model, with hyphens for what a name cannot have.",
        "external_model": "A model that a provider hosts, with the block of fields of that provider and no other.",
    },
    "TrafficConfig": {"routes": "One for each served entity; they add up to 100."},
    "Route": {
        "served_entity_name": "Name of the served entity.",
        "traffic_percentage": "Its share of the queries.",
    },
    "RateLimit": {
        "calls": "How many in any minute. 0 lets none through.",
        "tokens": "How many, of questions and answers, in any minute. Give calls, tokens or both.",
        "key": "Whose are counted: all of the endpoint's, each user's or one user's, those of a group together, or a service principal's.",
        "principal": "E-mail, name of the group, or application id. Left out, each user or service principal has the limit for themselves.",
        "renewal_period": "The window.",
    },
    "Tag": {"key": "At most 127 characters.", "value": "At most 255 characters."},
    "TagChanges": {
        "add_tags": "There afterwards; a key that was there gets the new value.",
        "delete_tags": "Keys that are gone afterwards. One that is not there is no error.",
    },
    "NewRateLimits": {"rate_limits": "All of them; left out or empty, there are none."},
    "Notifications": {"email_notifications": "Left out: nobody is told."},
    "Telemetry": {"telemetry_config": "Left out: none, which is what there is."},
    "EmailNotifications": {
        "on_update_success": "E-mail addresses.",
        "on_update_failure": "E-mail addresses.",
    },
    "AiGateway": {
        "rate_limits": "Carried out beside those of the endpoint.",
        "usage_tracking_config": "Usage is always tracked.",
        "guardrails": "Kept and shown.",
        "fallback_config": "Whether another served entity is asked when one answers 429 or 5xx or not at all: in the listed order, two at most. The one that failed may have worked all the same, so a question can be paid for twice.",
        "inference_table_config": "Kept and shown.",
    },
    "Timeouts": {
        "connect_seconds": "For a connection. Left out: 5, or as much as the others leave.",
        "first_byte_seconds": "Until the answer begins, connecting included. Left out: 60, or the whole if that is less.",
        "total_seconds": "Until the answer is whole. Left out: 297, or the first byte if that is more.",
    },
    "NewScope": {
        "scope": "Name of the new scope.",
        "initial_manage_principal": "A person or group that may manage it, beside you.",
    },
    "OfScope": {"scope": "Name of the scope."},
    "OfKey": {"scope": "Name of the scope.", "key": "Name of the key."},
    "OfPrincipal": {"scope": "Name of the scope.", "principal": "E-mail of a person, or name of a group."},
    "NewSecret": {
        "scope": "Name of the scope.",
        "key": "Name of the key.",
        "string_value": "The value; or give bytes_value.",
        "bytes_value": "The value in base64.",
    },
    "NewAcl": {
        "scope": "Name of the scope.",
        "principal": "E-mail of a person, or name of a group.",
        "permission": "READ: use and read. WRITE: put and delete as well. MANAGE: give rights as well.",
    },
    "AccessList": {"access_control_list": "Who gets which level."},
    "Access": {
        "user_name": "E-mail. Give exactly one of the three names.",
        "group_name": "Name of a group.",
        "service_principal_name": "Application id.",
        "permission_level": "CAN_MANAGE includes CAN_QUERY, which includes CAN_VIEW.",
    },
    "NewToken": {
        "comment": "What it is for.",
        "lifetime_seconds": "Left out: it works until it is revoked.",
        "scopes": "Refused: a token may do whatever its owner may.",
        "autoscope_enabled": "Refused: a token may do whatever its owner may.",
    },
    "OfToken": {"token_id": "Its id, not its value."},
    "TokenChange": {"token": "What is changed.", "update_mask": "comment, or left out."},
}
FORMS: dict[str, dict[str, Schema]] = {
    "EndpointSpec": {"name": {"pattern": NAME}},
    "ServedEntity": {"name": {"pattern": f"^$|{NAME}"}},
    "Route": {"served_entity_name": {"pattern": NAME}},
}


def say(schemas: dict[str, Schema]) -> None:
    """Puts the words and forms into the schemas."""
    for model, fields in DESCRIPTIONS.items():
        for name, text in fields.items():
            schemas[model]["properties"][name]["description"] = text
    for model, forms in FORMS.items():
        for name, form in forms.items():
            schemas[model]["properties"][name].update(form)
    # The API has two names for the same; both are accepted.
    route = schemas["Route"]
    older = {**route["properties"]["served_entity_name"], "description": "The older name of the same."}
    route["properties"]["served_model_name"] = older
    route["required"] = ["traffic_percentage"]
    route["anyOf"] = [{"required": [name]} for name in ("served_entity_name", "served_model_name")]
