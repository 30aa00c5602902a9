"""SCIM 2.0 (RFC 7643, 7644) for users, service principals and groups, under `/api/2.0/preview/scim/v2`.

Errors have the shape of the Databricks API (`error_code`, `message`), which its SDK reads, not the one of SCIM.

Why this is not `scim2-models`: version 0.12.3 was tried in November 2026.

- It applies a PATCH to a whole resource in memory. One `remove` of `members[value eq "…"]` from a group of 10,000 members took
  0.6 to 1.0 s, 100 of them 42 s, and one request may hold `MAX_OPERATIONS`. Here each is one DELETE.
- It refuses what directories send: Okta's `replace` of `{"id": …, "displayName": …}` (`id` is read-only, no policy allows it)
  and an address in `emails` that is not routable, such as `a@corp.local`. It accepts `"active": "yes"`, which is refused here.
- Its filter parser (with brackets, `not` and value paths) would replace about 50 lines of `filters.py` by a visitor of that
  size. Importing it costs each web process 20 MB and half a second and adds lark, email-validator and dnspython.
- It has no service principals, and no pages, filters or changes of database rows.
"""
