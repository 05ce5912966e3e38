"""Every place where a secret can be put: those of the settings and of the contract, and all others by name.

A setting or a text field that is in neither list fails `test_secrets.py` until somebody has decided what it may hold.
"""

SECRET_SETTINGS = frozenset(
    {
        "audit_sink.secret_credential",
        "audit_sink.secret_file",
        "audit_sink.url",
        "notify.urls",
        "ssh_key",
        "store",
        "tls_key",
        "wave_hook.url",
    }
)
"""Settings that hold a secret, or name the file with one."""
PLAIN_SETTINGS = frozenset(
    {
        *(
            "apply_timeout",
            "attempts",
            "auth",
            "calls_per_second",
            "connect_timeout",
            "gone_timeout",
        ),
        *("held_up_after", "history_days", "history_events", "listen", "lock_timeout", "log_level"),
        *("login_timeout", "mutations_per_second", "operation_log_limit", "operation_timeout"),
        *("operations_at_once", "operations_in_flight", "query_timeout", "queued_per_host"),
        *(
            "reboot_timeout",
            "state_dir",
            "streams_per_principal",
            "tls_certificate",
            "tls_client_ca",
        ),
        *("unfinished_rollouts", "verify_timeout"),
        *(
            f"audit_sink.{key}"
            for key in ("address", "facility", "keep", "kind", "max_size", "name")
        ),
        "audit_sink.path",
        *("client_certificate.name", "client_certificate.roles"),
        *("host_ca.file", "host_ca.groups", "host_ca.name"),
        *(f"notify.{key}" for key in ("body", "events", "groups", "name", "per_minute", "tags")),
        "notify.title",
        *(
            f"oidc_issuer.{key}"
            for key in ("admin", "algorithms", "all_tags_claim", "any_tags_claim")
        ),
        *(f"oidc_issuer.{key}" for key in ("allow_http_on_loopback", "approver", "audience")),
        *(f"oidc_issuer.{key}" for key in ("groups_claim", "issuer", "jwks_file", "jwks_url")),
        *(f"oidc_issuer.{key}" for key in ("leeway", "name", "operator", "principal_claim")),
        *(f"oidc_issuer.{key}" for key in ("principal_prefix", "roles_claim", "unbound", "viewer")),
        # The arguments of a program are in the list of processes, whatever the server does: docs/notifications.md.
        *(f"wave_hook.{key}" for key in ("command", "name", "timeout", "when")),
    }
)
"""Settings that hold none."""

SECRET_FIELDS = frozenset(
    {"Hook.script", "HealthCheck.command", "HttpProbe.body", "HttpProbe.url", "HostConfig.ssh_key"}
)
"""Text fields of requests that hold a secret, or name the file with one."""
PLAIN_FIELDS = frozenset(
    {
        *("add_groups", "add_host_keys", "add_tags", "address", "after", "all_tags", "any_tags"),
        *(
            "approvers",
            "before",
            "changed_by",
            "compose_paths",
            "cron",
            "description",
            "end",
            "etag",
        ),
        *(
            "exclude",
            "exclude_hosts",
            "expected_host_key",
            "fixes",
            "group",
            "groups",
            "host",
            "id",
        ),
        *(
            "include",
            "incomplete",
            "jump",
            "known_hosts",
            "limit",
            "log_id",
            "max_failures",
            "method",
        ),
        *("name", "name_prefix", "names", "packages", "page_token", "per_tag", "plan_id"),
        *("plan_operation_id", "principal", "reason", "remove_freezes", "remove_groups"),
        *(
            "remove_host_keys",
            "remove_tags",
            "request_id",
            "rollout_id",
            "rrule",
            "selection",
            "sql",
        ),
        *("start", "subject", "tag", "tags", "time_zone", "units", "user", "warnings", "waves"),
        "window_override_reason",
    }
)
"""Names of the text fields of requests that hold none, in whichever message."""
