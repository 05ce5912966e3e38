"""The schema, as numbered steps from nothing to the present; a step is never changed once released."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision BIGINT NOT NULL)",
        "INSERT INTO counter (id, revision) VALUES (1, 0)",
        """
        CREATE TABLE hosts (
            name TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            reboot_need TEXT NOT NULL,
            labels TEXT NOT NULL,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        "CREATE INDEX hosts_failed ON hosts (name) WHERE state = 'failed'",
        "CREATE TABLE host_tags (name TEXT, host TEXT, PRIMARY KEY (name, host))",
        "CREATE TABLE host_groups (name TEXT, host TEXT, PRIMARY KEY (name, host))",
        "CREATE INDEX host_tags_by_host ON host_tags (host)",
        "CREATE INDEX host_groups_by_host ON host_groups (host)",
        """
        CREATE TABLE inventories (
            host TEXT PRIMARY KEY,
            pending TEXT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE operations (
            id TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            rollout TEXT NOT NULL,
            status TEXT NOT NULL,
            disruptive INTEGER NOT NULL,
            ended_at BIGINT,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX one_running_operation ON operations (host) WHERE status = 'running'",
        """
        CREATE INDEX operations_disruptive ON operations (host)
        WHERE status = 'running' AND disruptive = 1
        """,
        "CREATE INDEX operations_by_host ON operations (host, id)",
        "CREATE INDEX operations_by_rollout ON operations (rollout, id) WHERE rollout <> ''",
        "CREATE INDEX operations_queued ON operations (host, id) WHERE status = 'queued'",
        "CREATE INDEX operations_by_status ON operations (status, id)",
        "CREATE INDEX operations_unfinished ON operations (id) WHERE ended_at IS NULL",
        "CREATE INDEX operations_by_end ON operations (ended_at, id) WHERE ended_at IS NOT NULL",
        """
        CREATE TABLE operation_logs (
            operation TEXT,
            position BIGINT,
            data BLOB NOT NULL,
            PRIMARY KEY (operation, position)
        )
        """,
        """
        CREATE TABLE rollouts (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            ended_at BIGINT,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE waves (
            rollout TEXT,
            number INTEGER,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (rollout, number)
        )
        """,
        """
        CREATE TABLE members (
            rollout TEXT,
            host TEXT,
            wave INTEGER NOT NULL,
            position INTEGER NOT NULL,
            status TEXT NOT NULL,
            not_before BIGINT NOT NULL,
            blocked_by TEXT NOT NULL,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (rollout, host)
        )
        """,
        "CREATE UNIQUE INDEX members_in_order ON members (rollout, position)",
        "CREATE INDEX members_by_status ON members (rollout, status, position)",
        """
        CREATE INDEX members_not_begun ON members (rollout, wave, position)
        WHERE status IN ('pending', 'waiting')
        """,
        """
        CREATE INDEX members_waiting ON members (rollout, wave, blocked_by, not_before)
        WHERE status = 'waiting'
        """,
        "CREATE INDEX members_by_host ON members (host, rollout)",
        "CREATE INDEX members_by_revision ON members (rollout, revision)",
        "CREATE TABLE plans (id TEXT PRIMARY KEY, at BIGINT NOT NULL, document TEXT NOT NULL)",
        """
        CREATE TABLE events (
            revision BIGINT PRIMARY KEY,
            at BIGINT NOT NULL,
            kind TEXT NOT NULL,
            host TEXT NOT NULL,
            operation TEXT NOT NULL,
            rollout TEXT NOT NULL,
            body TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE requests (
            id TEXT PRIMARY KEY,
            digest BLOB NOT NULL,
            response BLOB NOT NULL,
            at BIGINT NOT NULL
        )
        """,
        "CREATE INDEX requests_by_time ON requests (at)",
        """
        CREATE TABLE audit (
            revision BIGINT PRIMARY KEY,
            at BIGINT NOT NULL,
            principal TEXT NOT NULL,
            method TEXT NOT NULL,
            subject TEXT NOT NULL
        )
        """,
        "CREATE INDEX audit_by_time ON audit (at)",
        """
        CREATE TABLE schedules (
            name TEXT PRIMARY KEY,
            next_at BIGINT,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        "CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL",
        """
        CREATE TABLE selections (
            name TEXT PRIMARY KEY,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        "CREATE TABLE notification_cursors (reader TEXT PRIMARY KEY, document TEXT NOT NULL)",
        """
        CREATE TABLE group_policies (
            host_group TEXT PRIMARY KEY,
            revision BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
    ),
    ("ALTER TABLE operations ADD COLUMN quiet_writes BIGINT NOT NULL DEFAULT 0",),
    (
        # Lists by state, by whether a reboot is needed, and by status cost the same in any fleet.
        "CREATE INDEX hosts_by_state ON hosts (state, reboot_need, name)",
        "CREATE INDEX hosts_by_reboot_need ON hosts (reboot_need, name)",
        "CREATE INDEX rollouts_by_status ON rollouts (status, id)",
        "CREATE INDEX rollouts_by_end ON rollouts (ended_at, id) WHERE ended_at IS NOT NULL",
        "CREATE INDEX plans_by_time ON plans (at)",
        "CREATE INDEX members_pending ON members (rollout, wave, position) WHERE status = 'pending'",
        "DROP INDEX members_not_begun",
        "CREATE TABLE host_counts (kind TEXT, name TEXT, hosts BIGINT NOT NULL, PRIMARY KEY (kind, name))",
        "INSERT INTO host_counts (kind, name, hosts) SELECT 'host', '', count(*) FROM hosts",
        """
        INSERT INTO host_counts (kind, name, hosts)
        SELECT 'tag', name, count(*) FROM host_tags GROUP BY name
        """,
        """
        INSERT INTO host_counts (kind, name, hosts)
        SELECT 'group', name, count(*) FROM host_groups GROUP BY name
        """,
        "CREATE TABLE pruned_rollouts (id TEXT PRIMARY KEY)",
        # A plan is a proposal that whoever made it can have again: older ones are not taken apart.
        "DELETE FROM plans",
        """
        CREATE TABLE plan_parts (
            plan TEXT,
            number INTEGER,
            document TEXT NOT NULL,
            PRIMARY KEY (plan, number)
        )
        """,
    ),
    (
        "CREATE INDEX hosts_by_revision ON hosts (revision, name)",
        "CREATE TABLE removed_hosts (name TEXT PRIMARY KEY, revision BIGINT NOT NULL)",
        "CREATE INDEX removed_hosts_by_revision ON removed_hosts (revision, name)",
    ),
    (
        # By which a machine is found that is registered under another name already.
        "ALTER TABLE hosts ADD COLUMN host_key TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE hosts ADD COLUMN endpoint TEXT NOT NULL DEFAULT ''",
        """
        UPDATE hosts SET
            host_key = json_extract(document, '$.host_key'),
            endpoint = CASE json_extract(document, '$.config.address')
                WHEN 'local' THEN 'local'
                ELSE lower(json_extract(document, '$.config.address')) || ' '
                    || json_extract(document, '$.config.port')
            END
        """,
        "CREATE INDEX hosts_by_host_key ON hosts (host_key)",
        "CREATE INDEX hosts_by_endpoint ON hosts (endpoint)",
    ),
    (
        "DROP INDEX members_by_revision",
        "CREATE INDEX members_by_revision ON members (rollout, revision, position)",
        "CREATE INDEX waves_by_revision ON waves (rollout, revision, number)",
    ),
    (
        # Machines of which a query finds that they are registered under another name, too. In the order of
        # names: copies of one image may have the same machine-id by the thousand.
        "ALTER TABLE hosts ADD COLUMN machine_id TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX hosts_by_machine_id ON hosts (machine_id, name)",
        "DROP INDEX hosts_by_host_key",
        "CREATE INDEX hosts_by_host_key ON hosts (host_key, name)",
        "DROP INDEX hosts_by_endpoint",
        "CREATE INDEX hosts_by_endpoint ON hosts (endpoint, name)",
    ),
    (
        # Answers to requests age by the time that servers have run for, whatever the clock says.
        "ALTER TABLE requests ADD COLUMN revision BIGINT NOT NULL DEFAULT 0",
        "UPDATE requests SET revision = (SELECT revision FROM counter)",
        "DROP INDEX requests_by_time",
        "CREATE INDEX requests_by_revision ON requests (revision)",
    ),
    (
        # Hosts without a tag of a key count together for the disruption budgets of that key.
        """
        INSERT INTO host_counts (kind, name, hosts)
        SELECT 'key', substr(name, 1, instr(name, '=') - 1), count(DISTINCT host) FROM host_tags
        WHERE instr(name, '=') > 1 AND instr(name, '=') < length(name) GROUP BY 2
        """,
    ),
    (
        # By which a jump knows that it is used.
        "ALTER TABLE hosts ADD COLUMN jump TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX hosts_by_jump ON hosts (jump, name) WHERE jump <> ''",
    ),
    (
        "CREATE TABLE tokens (id TEXT PRIMARY KEY, last_used_at BIGINT, document TEXT NOT NULL)",
        # Mutations without an event reach no revision of their own.
        "ALTER TABLE audit RENAME TO audit_by_revision",
        "DROP INDEX audit_by_time",
        """
        CREATE TABLE audit (
            number INTEGER PRIMARY KEY,
            revision BIGINT NOT NULL,
            at BIGINT NOT NULL,
            principal TEXT NOT NULL,
            method TEXT NOT NULL,
            subject TEXT NOT NULL
        )
        """,
        """
        INSERT INTO audit (revision, at, principal, method, subject)
        SELECT revision, at, principal, method, subject FROM audit_by_revision ORDER BY revision
        """,
        "DROP TABLE audit_by_revision",
        "CREATE INDEX audit_by_time ON audit (at)",
    ),
    (
        "ALTER TABLE audit ADD COLUMN credential_kind TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE audit ADD COLUMN credential TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE audit ADD COLUMN address TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE audit ADD COLUMN result TEXT NOT NULL DEFAULT 'OK'",
        "ALTER TABLE audit ADD COLUMN request_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE audit ADD COLUMN omitted BIGINT NOT NULL DEFAULT 0",
        # Empty: of a version that did not chain the records.
        "ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX audit_by_principal ON audit (principal, number)",
        "CREATE INDEX audit_by_subject ON audit (subject, number)",
        "CREATE INDEX audit_by_method ON audit (method, number)",
    ),
    (
        # Spans of time are read in the order of time: one that is long past is found without reading what
        # came after it.
        "CREATE INDEX audit_by_principal_and_time ON audit (principal, at)",
        "CREATE INDEX audit_by_subject_and_time ON audit (subject, at)",
    ),
    (
        # How far the audit log was sent to each sink: the number and the hash of the last record.
        "CREATE TABLE audit_cursors (sink TEXT PRIMARY KEY, number BIGINT NOT NULL, hash TEXT NOT NULL)",
    ),
    (
        # Which replica drives what: see domain/leases. `lease_until` is a reading of `database_clock()`.
        """
        CREATE TABLE replicas (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            lease_until BIGINT NOT NULL,
            document TEXT NOT NULL
        )
        """,
        "CREATE INDEX replicas_by_name ON replicas (name, id)",
        "ALTER TABLE operations ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE operations ADD COLUMN lease_epoch BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE rollouts ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rollouts ADD COLUMN lease_epoch BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX rollouts_unfinished ON rollouts (id) WHERE ended_at IS NULL",
        """
        CREATE TABLE duties (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            lease_epoch BIGINT NOT NULL
        )
        """,
    ),
)

SCHEMA = len(MIGRATIONS)
"""The version that this program writes."""
LOG_ID = "log_id"
"""The key in `meta` of the id of the event log, by which clients tell that it is another one. It is made with the
schema."""
MOVED_TO = "moved_to"
"""The key in `meta` of where everything was moved to: of a database that no server opens any more."""
