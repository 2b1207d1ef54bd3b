-- The whole schema as it stands: all revisions, oldest first.
-- Made from the revisions by `make schema`; apply with: psql -v ON_ERROR_STOP=1 -f

BEGIN;

-- Servers, slots, databases, logins, events and API tokens.
-- The row is the job: servers and databases carry intent (status), when to look again (due_at), who is looking
-- (lease_until, lease_token), the fence (version), failed attempts and the last error.

CREATE TABLE servers (
    id                    uuid PRIMARY KEY,
    seq                   bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    name                  text NOT NULL UNIQUE,
    server_type           text NOT NULL CHECK (server_type IN ('shared', 'dedicated', 'platform')),
    provisioner           text NOT NULL CHECK (provisioner IN ('process', 'external', 'swarm')),
    status                text NOT NULL CHECK (status IN ('provisioning', 'initializing', 'active', 'deprovisioning', 'gone', 'error')),
    status_since          timestamptz NOT NULL,
    health_status         text NOT NULL DEFAULT 'unknown' CHECK (health_status IN ('unknown', 'healthy', 'degraded', 'unhealthy')),
    health_failures       integer NOT NULL DEFAULT 0 CHECK (health_failures >= 0),
    health_message        text,
    last_health_check     timestamptz,
    cordoned              boolean NOT NULL DEFAULT false,
    cordon_reason         text,
    manual                boolean NOT NULL DEFAULT false,
    priority              integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN -1000 AND 1000),
    max_instances         integer NOT NULL CHECK (max_instances BETWEEN 1 AND 10000),
    instance_id           text CHECK (instance_id !~ '[^A-Za-z0-9._-]' AND length(instance_id) BETWEEN 1 AND 64),
    customer_id           text CHECK (customer_id !~ '[^A-Za-z0-9._-]' AND length(customer_id) BETWEEN 1 AND 64),
    plan_tier             text,
    host                  text,
    port                  integer CHECK (port BETWEEN 1 AND 65535),
    admin_user            text NOT NULL,
    admin_password_sealed bytea NOT NULL,
    postgres_version      text,
    cpu_limit             double precision NOT NULL CHECK (cpu_limit > 0),
    memory_limit          bigint NOT NULL CHECK (memory_limit > 0),
    facts                 jsonb NOT NULL DEFAULT '{}',
    keep_data_until       timestamptz,
    request_key           text UNIQUE,
    due_at                timestamptz,
    lease_until           timestamptz,
    lease_token           uuid,
    version               bigint NOT NULL DEFAULT 1,
    attempts              integer NOT NULL DEFAULT 0,
    last_error            text,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    CHECK ((server_type = 'dedicated') = (instance_id IS NOT NULL)),
    CHECK (status <> 'active' OR (host IS NOT NULL AND port IS NOT NULL)),
    CHECK (status IN ('gone', 'active') OR due_at IS NOT NULL),
    CHECK ((lease_until IS NULL) = (lease_token IS NULL))
);
COMMENT ON TABLE servers IS 'One PostgreSQL server each; the API calls the shared ones pools.';
CREATE INDEX servers_due ON servers (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX servers_live ON servers (seq) WHERE status <> 'gone';
CREATE UNIQUE INDEX servers_one_dedicated_per_instance ON servers (instance_id) WHERE status NOT IN ('deprovisioning', 'gone');

CREATE TABLE databases (
    id                    uuid PRIMARY KEY,
    status                text NOT NULL,
    status_since          timestamptz NOT NULL,
    instance_id           text UNIQUE,
    customer_id           text,
    asked_tier            text,
    server_type           text NOT NULL,
    require_dedicated     boolean NOT NULL DEFAULT false,
    database_name         text,
    plan_tier             text NOT NULL,
    limits_tier           text,
    template              text NOT NULL DEFAULT 'default',
    server_id             uuid REFERENCES servers (id),
    rank                  bigint,
    name                  text NOT NULL,
    physical_name         text,
    owner_role            text NOT NULL,
    protected             boolean NOT NULL DEFAULT false,
    purge_after           timestamptz,
    due_at                timestamptz,
    lease_until           timestamptz,
    lease_token           uuid,
    version               bigint NOT NULL DEFAULT 1,
    attempts              integer NOT NULL DEFAULT 0,
    last_error            text,
    created_at            timestamptz NOT NULL,
    claimed_at            timestamptz,
    ready_at              timestamptz,
    released_at           timestamptz,
    UNIQUE (server_id, name)
);

CREATE FUNCTION database_is_sound(d databases) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN d.status IN ('waiting', 'creating', 'spare', 'ready', 'releasing', 'released', 'purged')
        AND d.server_type IN ('shared', 'dedicated')
        AND (d.instance_id !~ '[^A-Za-z0-9._-]' AND length(d.instance_id) BETWEEN 1 AND 64) IS NOT FALSE
        AND (d.customer_id !~ '[^A-Za-z0-9._-]' AND length(d.customer_id) BETWEEN 1 AND 64) IS NOT FALSE
        AND (d.instance_id IS NOT NULL OR d.status NOT IN ('waiting', 'ready'))
        AND (d.instance_id IS NULL) = (d.customer_id IS NULL)
        AND (d.instance_id IS NULL) = (d.asked_tier IS NULL)
        AND ((d.server_id IS NULL) = (d.status = 'waiting') OR d.status = 'purged')
        AND (d.status NOT IN ('spare', 'ready') OR d.physical_name IS NOT DISTINCT FROM d.name AND d.limits_tier IS NOT NULL AND d.rank IS NOT NULL)
        AND (d.status NOT IN ('waiting', 'creating', 'releasing') OR d.due_at IS NOT NULL)
        AND (d.status <> 'purged' OR d.server_id IS NULL OR d.due_at IS NOT NULL)
        AND (d.status <> 'released' OR d.released_at IS NOT NULL AND d.purge_after IS NOT NULL)
        AND (d.lease_until IS NULL) = (d.lease_token IS NULL);
END $$;
ALTER TABLE databases ADD CHECK (database_is_sound(databases));
COMMENT ON FUNCTION database_is_sound IS
    'What every row keeps. PostgreSQL prepares a CHECK anew in each statement: one that calls this costs a claim a tenth less than eleven.';

COMMENT ON TABLE databases IS 'One tenant database each: waiting for a seat, in the making, spare, in use, or on its way out.';
COMMENT ON COLUMN databases.rank IS 'The rank of its slot, so that the claim of a spare is one index walk.';
COMMENT ON COLUMN databases.physical_name IS 'The name it has on its server now; NULL until it was built.';
CREATE INDEX databases_spares ON databases (template, rank) WHERE status = 'spare';
CREATE INDEX databases_waiting ON databases (created_at) WHERE status = 'waiting';
CREATE INDEX databases_to_drop ON databases (server_id) WHERE status = 'purged' AND server_id IS NOT NULL;
CREATE INDEX databases_due ON databases (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX databases_status ON databases (status, server_type);
CREATE INDEX databases_claimed ON databases (claimed_at) WHERE claimed_at IS NOT NULL;

CREATE TABLE slots (
    server_id             uuid NOT NULL REFERENCES servers (id),
    ordinal               integer NOT NULL CHECK (ordinal >= 1),
    rank                  bigint NOT NULL,
    database_id           uuid UNIQUE REFERENCES databases (id) DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (server_id, ordinal)
);
COMMENT ON TABLE slots IS 'The room for one database on a server. Capacity is rows: no counter can drift.';
CREATE INDEX slots_free ON slots (rank) WHERE database_id IS NULL;
CREATE INDEX slots_free_on_server ON slots (server_id) WHERE database_id IS NULL;

CREATE TABLE logins (
    id                    uuid PRIMARY KEY,
    database_id           uuid NOT NULL REFERENCES databases (id),
    role                  text NOT NULL UNIQUE,
    password_sealed       bytea NOT NULL,
    state                 text NOT NULL CHECK (state IN ('pending', 'active', 'dropped')),
    overlap               interval NOT NULL DEFAULT '0',
    request_key           text,
    created_at            timestamptz NOT NULL,
    expires_at            timestamptz,
    UNIQUE (database_id, request_key)
);
COMMENT ON TABLE logins IS 'Roles that can log in to a tenant database, two at once while credentials rotate.';
COMMENT ON COLUMN logins.overlap IS 'How long the logins before this one still work, counted from when this one does.';
CREATE INDEX logins_of_database ON logins (database_id, created_at) WHERE state <> 'dropped';

CREATE TABLE events (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                    timestamptz NOT NULL,
    actor                 text NOT NULL,
    action                text NOT NULL,
    subject               text NOT NULL CHECK (subject IN ('server', 'database', 'token')),
    subject_id            uuid NOT NULL,
    instance_id           text,
    before                text,
    after                 text,
    why                   text,
    request_id            text
);
COMMENT ON TABLE events IS 'The audit trail: who changed what, when, why, from what to what.';
CREATE INDEX events_of_subject ON events (subject_id, id);
CREATE INDEX events_of_instance ON events (instance_id, id) WHERE instance_id IS NOT NULL;

CREATE TABLE tokens (
    id                    uuid PRIMARY KEY,
    name                  text NOT NULL,
    hash                  bytea NOT NULL UNIQUE,
    scopes                text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at            timestamptz NOT NULL,
    created_by            text NOT NULL,
    expires_at            timestamptz,
    revoked_at            timestamptz,
    last_used_at          timestamptz
);
COMMENT ON TABLE tokens IS 'API tokens: only their hashes; the token itself is shown once.';

-- Whoever waits for a database (?wait, Prefer: wait) listens here. Only a change is told: a thousand who wait are looked at
-- again and again, and each would be woken for nothing. A claim of a spare is left out on purpose: nobody waits for what is
-- answered at once, and a commit with a notification takes a lock that all such commits share.
CREATE FUNCTION notify_database_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('database_changed', NEW.instance_id);
    RETURN NULL;
END $$;
CREATE TRIGGER database_changed AFTER UPDATE OF status, instance_id ON databases
    FOR EACH ROW WHEN (NEW.instance_id IS NOT NULL AND NOT (OLD.status = 'spare' AND NEW.status = 'ready')
        AND (NEW.status <> OLD.status OR NEW.instance_id IS DISTINCT FROM OLD.instance_id))
    EXECUTE FUNCTION notify_database_changed();

CREATE FUNCTION notify_token_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('token_changed', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER token_revoked AFTER UPDATE OF revoked_at ON tokens
    FOR EACH ROW EXECUTE FUNCTION notify_token_changed();

-- Servers that run images, and administrators' passwords that can be changed.

ALTER TABLE servers
    ADD COLUMN image                  text,
    ADD COLUMN admin_password_version integer NOT NULL DEFAULT 1 CHECK (admin_password_version >= 1),
    ADD COLUMN admin_password_next    bytea;
COMMENT ON COLUMN servers.image IS 'What it runs, pinned by digest where it has one; NULL where its provisioner runs no images.';
COMMENT ON COLUMN servers.admin_password_next IS 'The password it is being given: stored before the server is told.';

-- Long work that can be followed, paused and cancelled: a row for the whole, and one for each of its steps.

CREATE TABLE operations (
    id                    uuid PRIMARY KEY,
    seq                   bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind                  text NOT NULL CHECK (kind IN ('rollout', 'rotate_admin_password')),
    state                 text NOT NULL CHECK (state IN ('pending', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    state_since           timestamptz NOT NULL,
    target                jsonb NOT NULL DEFAULT '{}',
    wish                  text CHECK (wish IN ('pause', 'cancel')),
    created_by            text NOT NULL,
    request_key           text UNIQUE,
    due_at                timestamptz,
    lease_until           timestamptz,
    lease_token           uuid,
    version               bigint NOT NULL DEFAULT 1,
    last_error            text,
    created_at            timestamptz NOT NULL,
    finished_at           timestamptz,
    CHECK ((due_at IS NOT NULL) = (state IN ('pending', 'running'))),
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled'))),
    CHECK (wish IS NULL OR state IN ('pending', 'running')),
    CHECK (state <> 'failed' OR last_error IS NOT NULL),
    CHECK ((lease_until IS NULL) = (lease_token IS NULL))
);
COMMENT ON TABLE operations IS 'Long work, step by step; one that is due is worked on by whoever has its lease.';
COMMENT ON COLUMN operations.target IS 'What is wanted, as it was asked for; what was found out before the first step is added.';
COMMENT ON COLUMN operations.wish IS 'What takes effect once the step in hand is over.';
CREATE INDEX operations_due ON operations (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE operation_steps (
    operation_id          uuid NOT NULL REFERENCES operations (id),
    ordinal               integer NOT NULL CHECK (ordinal >= 1),
    name                  text NOT NULL,
    subject_id            uuid NOT NULL,
    held                  boolean NOT NULL,
    state                 text NOT NULL
        CHECK (state IN ('pending', 'running', 'undoing', 'succeeded', 'skipped', 'failed', 'cancelled')),
    state_since           timestamptz NOT NULL,
    detail                jsonb NOT NULL DEFAULT '{}',
    error                 text,
    started_at            timestamptz,
    finished_at           timestamptz,
    PRIMARY KEY (operation_id, ordinal),
    CHECK ((started_at IS NULL) = (state IN ('pending', 'cancelled'))),
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'skipped', 'failed', 'cancelled'))),
    CHECK (state NOT IN ('undoing', 'failed') OR error IS NOT NULL)
);
COMMENT ON COLUMN operation_steps.name IS 'The name of its subject when the operation was made.';
COMMENT ON COLUMN operation_steps.held IS 'Its operation lives and has the subject for itself.';
COMMENT ON COLUMN operation_steps.detail IS 'What it needs to go on or back after a crash: the values before, and what was seen before the change.';
CREATE UNIQUE INDEX operation_steps_one_holder ON operation_steps (subject_id) WHERE held;
CREATE UNIQUE INDEX operation_steps_one_in_hand ON operation_steps (operation_id) WHERE state IN ('running', 'undoing');

ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check CHECK (subject IN ('server', 'database', 'token', 'operation'));

-- Whoever follows an operation listens here.
CREATE FUNCTION notify_operation_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('operation_changed', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER operation_changed AFTER UPDATE OF state ON operations
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION notify_operation_changed();

-- What is there without a row, and rows whose thing is gone, differs or moved. And how far the last look for it reached.

CREATE TABLE drift (
    id            uuid PRIMARY KEY,
    seq           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind          text NOT NULL CHECK (kind IN ('server_without_row', 'server_gone', 'server_differs', 'server_moved',
                    'database_without_row', 'database_gone', 'role_without_row', 'role_gone', 'files_without_database')),
    provisioner   text NOT NULL,
    server_id     uuid NOT NULL,
    server_name   text NOT NULL,
    thing         text NOT NULL,
    told          jsonb NOT NULL,
    remark        text NOT NULL,
    kept          text,
    first_seen    timestamptz NOT NULL,
    last_seen     timestamptz NOT NULL,
    gone_at       timestamptz,
    confirmation  text,
    confirmed_at  timestamptz,
    confirmed_by  text,
    begun_at      timestamptz,
    due_at        timestamptz,
    lease_until   timestamptz,
    lease_token   uuid,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    UNIQUE (kind, server_id, thing),
    CHECK (last_seen >= first_seen),
    CHECK ((confirmation IS NULL) = (confirmed_at IS NULL) AND (confirmation IS NULL) = (confirmed_by IS NULL)),
    CHECK (begun_at IS NULL OR confirmation IS NOT NULL),
    CHECK (due_at IS NULL OR confirmation IS NOT NULL AND gone_at IS NULL),
    CHECK ((lease_until IS NULL) = (lease_token IS NULL))
);
COMMENT ON TABLE drift IS 'One row for each thing that is not as rows say; it stays when the thing is gone, and is found again with it.';
COMMENT ON COLUMN drift.server_id IS 'The server it is, or is on; it may have no row.';
COMMENT ON COLUMN drift.thing IS 'What of the server: a database, a role, a directory of files; empty for the server itself.';
COMMENT ON COLUMN drift.told IS 'Exactly what there is, in words: who confirms a removal agrees to just these.';
COMMENT ON COLUMN drift.kept IS 'Why it is never removed; NULL where it may be.';
COMMENT ON COLUMN drift.due_at IS 'When its removal is to be tried; NULL where none is confirmed.';
CREATE INDEX drift_there ON drift (kind) WHERE gone_at IS NULL;
CREATE INDEX drift_due ON drift (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE drift_look (
    only_one      boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    wanted_at     timestamptz,
    began_at      timestamptz,
    ended_at      timestamptz,
    unlooked      jsonb NOT NULL DEFAULT '[]'
);
COMMENT ON TABLE drift_look IS 'The last look for drift: when, and what could not be looked at. At most one row.';
COMMENT ON COLUMN drift_look.wanted_at IS 'When somebody asked for a look; one that began later has answered it.';

ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check CHECK (subject IN ('server', 'database', 'token', 'operation', 'drift'));

-- Databases that go from one server to another, and what of them stays behind for a while.

ALTER TABLE databases ADD COLUMN twin_of uuid REFERENCES databases (id);
COMMENT ON COLUMN databases.twin_of IS 'The database whose seat on another server this is: the one it goes to, or the one it has left.';
CREATE INDEX databases_twins ON databases (twin_of) WHERE twin_of IS NOT NULL;

CREATE OR REPLACE FUNCTION database_is_sound(d databases) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN d.status IN ('waiting', 'creating', 'spare', 'ready', 'moving', 'landing', 'releasing', 'released', 'purged')
        AND d.server_type IN ('shared', 'dedicated')
        AND (d.instance_id !~ '[^A-Za-z0-9._-]' AND length(d.instance_id) BETWEEN 1 AND 64) IS NOT FALSE
        AND (d.customer_id !~ '[^A-Za-z0-9._-]' AND length(d.customer_id) BETWEEN 1 AND 64) IS NOT FALSE
        AND (d.instance_id IS NOT NULL OR d.status NOT IN ('waiting', 'ready', 'moving'))
        AND (d.instance_id IS NULL) = (d.customer_id IS NULL)
        AND (d.instance_id IS NULL) = (d.asked_tier IS NULL)
        AND ((d.server_id IS NULL) = (d.status = 'waiting') OR d.status = 'purged')
        AND (d.status NOT IN ('spare', 'ready', 'moving') OR d.physical_name IS NOT DISTINCT FROM d.name AND d.limits_tier IS NOT NULL AND d.rank IS NOT NULL)
        AND (d.status NOT IN ('waiting', 'creating', 'releasing') OR d.due_at IS NOT NULL)
        AND (d.status <> 'purged' OR d.server_id IS NULL OR d.due_at IS NOT NULL)
        AND (d.status <> 'released' OR d.released_at IS NOT NULL AND d.purge_after IS NOT NULL)
        AND (d.status <> 'landing' OR d.twin_of IS NOT NULL AND d.rank IS NOT NULL)
        AND (d.twin_of IS NULL OR d.instance_id IS NULL)
        AND (d.lease_until IS NULL) = (d.lease_token IS NULL);
END $$;

ALTER TABLE operations DROP CONSTRAINT operations_kind_check;
ALTER TABLE operations ADD CONSTRAINT operations_kind_check
    CHECK (kind IN ('rollout', 'rotate_admin_password', 'change_plan', 'move', 'drain', 'rebalance', 'rollback'));

-- A step that moves a database may be cancelled in the middle.
ALTER TABLE operation_steps DROP CONSTRAINT operation_steps_check;
ALTER TABLE operation_steps ADD CONSTRAINT operation_steps_check
    CHECK (state = 'cancelled' OR (started_at IS NULL) = (state = 'pending'));

CREATE TABLE moves (
    operation_id          uuid NOT NULL,
    ordinal               integer NOT NULL,
    database_id           uuid NOT NULL REFERENCES databases (id),
    source_id             uuid NOT NULL REFERENCES servers (id),
    target_id             uuid REFERENCES servers (id),
    twin_id               uuid REFERENCES databases (id),
    tier_before           text NOT NULL,
    tier_after            text NOT NULL,
    type_before           text NOT NULL CHECK (type_before IN ('shared', 'dedicated')),
    type_after            text NOT NULL CHECK (type_after IN ('shared', 'dedicated')),
    dedicated_before      boolean NOT NULL,
    dedicated_after       boolean NOT NULL,
    back                  boolean NOT NULL,
    phase                 text NOT NULL CHECK (phase IN ('seating', 'fencing', 'copying', 'verifying', 'opening', 'reopening',
                              'tidying', 'done', 'undone')),
    phase_since           timestamptz NOT NULL,
    attempt               integer NOT NULL DEFAULT 0,
    tries                 integer NOT NULL DEFAULT 0,
    stale                 text[] NOT NULL DEFAULT '{}',
    mover_role            text NOT NULL UNIQUE,
    mover_password_sealed bytea NOT NULL,
    size_bytes            bigint,
    fraction              double precision CHECK (fraction BETWEEN 0 AND 1),
    kept_until            timestamptz,
    fenced_at             timestamptz,
    switched_at           timestamptz,
    opened_at             timestamptz,
    undone_why            text,
    PRIMARY KEY (operation_id, ordinal),
    FOREIGN KEY (operation_id, ordinal) REFERENCES operation_steps (operation_id, ordinal),
    CHECK (phase IN ('seating', 'reopening', 'tidying', 'undone') OR twin_id IS NOT NULL AND target_id IS NOT NULL),
    CHECK (phase NOT IN ('opening', 'done') OR switched_at IS NOT NULL),
    CHECK (phase NOT IN ('reopening', 'undone') OR undone_why IS NOT NULL)
);
COMMENT ON TABLE moves IS 'How far a database is on its way to another server; a row for each step of an operation that moves one.';
COMMENT ON COLUMN moves.target_id IS 'As it was asked for, else as a seat was found.';
COMMENT ON COLUMN moves.twin_id IS 'The row that holds its seat on the other server: the target until the switch, the source after it.';
COMMENT ON COLUMN moves.tries IS 'How often its phase was begun; one that looks for a seat counts when it found none.';
COMMENT ON COLUMN moves.back IS 'Where it goes has what it left there: that is compared, and nothing is copied.';
COMMENT ON COLUMN moves.stale IS 'What earlier attempts were called on the target. A name is never used twice.';
CREATE INDEX moves_of_database ON moves (database_id);
CREATE INDEX moves_of_twin ON moves (twin_id) WHERE twin_id IS NOT NULL;
CREATE INDEX moves_without_seat ON moves (type_after) WHERE phase = 'seating' AND twin_id IS NULL;

-- Keyed digests of tokens, tokens that are one customer's, and an audit trail that is only added to.

ALTER TABLE tokens
    ADD COLUMN hash_key    text,
    ADD COLUMN customer_id text CHECK (customer_id !~ '[^A-Za-z0-9._-]' AND length(customer_id) BETWEEN 1 AND 64),
    ADD CONSTRAINT tokens_of_a_customer
        CHECK (customer_id IS NULL OR scopes <@ ARRAY['databases:read', 'databases:write', 'databases:secrets']);
COMMENT ON COLUMN tokens.hash_key IS 'The key of the ring that hash was made under (HMAC-SHA256); NULL where it is a plain SHA-256.';
COMMENT ON COLUMN tokens.customer_id IS 'Whose databases alone it is for; NULL: everybody''s.';

CREATE TABLE links (
    seq       bigint PRIMARY KEY CHECK (seq >= 1),
    event_id  bigint NOT NULL UNIQUE,
    linked_at timestamptz NOT NULL,
    hash      bytea NOT NULL,
    mac       bytea NOT NULL,
    mac_key   text NOT NULL
);
COMMENT ON TABLE links IS 'The chain of the audit trail: each link is made of the one before and of one committed event, a few seconds after it.';
COMMENT ON COLUMN links.event_id IS 'No foreign key: what was removed in spite of all must leave a link behind.';
COMMENT ON COLUMN links.hash IS 'SHA-256 of the hash before and of the event.';
COMMENT ON COLUMN links.mac IS 'HMAC-SHA256 of seq, linked_at and hash, under a key derived from mac_key of the ring.';

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit trail is only added to', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON events EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER links_only_grow BEFORE DELETE OR TRUNCATE ON links EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER links_stay BEFORE UPDATE OF seq, event_id, linked_at, hash ON links EXECUTE FUNCTION refuse_rewriting();

-- What databases use of their servers, and what those that are too large may no longer do.

ALTER TABLE databases
    ADD COLUMN stop        text DEFAULT 'none',
    ADD COLUMN stop_wanted text NOT NULL DEFAULT 'none';
COMMENT ON COLUMN databases.stop IS 'What it may no longer do, as its server was last told; NULL where its server is to be told again.';
COMMENT ON COLUMN databases.stop_wanted IS 'What follows from its size and its plan.';

CREATE OR REPLACE FUNCTION database_is_sound(d databases) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN d.status IN ('waiting', 'creating', 'spare', 'ready', 'moving', 'landing', 'releasing', 'released', 'purged')
        AND d.server_type IN ('shared', 'dedicated')
        AND (d.instance_id !~ '[^A-Za-z0-9._-]' AND length(d.instance_id) BETWEEN 1 AND 64) IS NOT FALSE
        AND (d.customer_id !~ '[^A-Za-z0-9._-]' AND length(d.customer_id) BETWEEN 1 AND 64) IS NOT FALSE
        AND (d.instance_id IS NOT NULL OR d.status NOT IN ('waiting', 'ready', 'moving'))
        AND (d.instance_id IS NULL) = (d.customer_id IS NULL)
        AND (d.instance_id IS NULL) = (d.asked_tier IS NULL)
        AND ((d.server_id IS NULL) = (d.status = 'waiting') OR d.status = 'purged')
        AND (d.status NOT IN ('spare', 'ready', 'moving') OR d.physical_name IS NOT DISTINCT FROM d.name AND d.limits_tier IS NOT NULL AND d.rank IS NOT NULL)
        AND (d.status NOT IN ('waiting', 'creating', 'releasing') OR d.due_at IS NOT NULL)
        AND (d.status <> 'purged' OR d.server_id IS NULL OR d.due_at IS NOT NULL)
        AND (d.status <> 'released' OR d.released_at IS NOT NULL AND d.purge_after IS NOT NULL)
        AND (d.status <> 'landing' OR d.twin_of IS NOT NULL AND d.rank IS NOT NULL)
        AND (d.twin_of IS NULL OR d.instance_id IS NULL)
        AND (d.stop IN ('none', 'writes', 'door')) IS NOT FALSE
        AND d.stop_wanted IN ('none', 'writes', 'door')
        AND (d.lease_until IS NULL) = (d.lease_token IS NULL);
END $$;

CREATE TABLE usage (
    database_id           uuid PRIMARY KEY REFERENCES databases (id) ON DELETE CASCADE,
    server_id             uuid NOT NULL REFERENCES servers (id),
    sampled_at            timestamptz NOT NULL,
    connections           integer NOT NULL CHECK (connections >= 0),
    oldest_transaction_s  double precision,
    transactions          bigint NOT NULL,
    blocks                bigint NOT NULL,
    temp_bytes            bigint NOT NULL,
    busy_s                double precision NOT NULL,
    transactions_per_s    double precision,
    blocks_per_s          double precision,
    temp_bytes_per_s      double precision,
    busy                  double precision,
    size_bytes            bigint CHECK (size_bytes >= 0),
    written               bigint,
    sized_at              timestamptz,
    tier                  text,
    level                 text NOT NULL DEFAULT 'ok' CHECK (level IN ('ok', 'warning', 'critical', 'stopped')),
    level_since           timestamptz,
    stopped_bytes         bigint,
    CHECK ((size_bytes IS NULL) = (sized_at IS NULL)),
    CHECK ((stopped_bytes IS NOT NULL) = (level = 'stopped')),
    CHECK ((busy IS NULL) = (blocks_per_s IS NULL))
) WITH (fillfactor = 70);
COMMENT ON TABLE usage IS 'The last sample of each database in use: one row each, written again and again.';
COMMENT ON COLUMN usage.transactions IS 'Counted by the server since it began to; so are blocks, temp_bytes and busy_s (seconds of all sessions together).';
COMMENT ON COLUMN usage.busy IS 'Seconds that its sessions were at work in each second, since the sample before.';
COMMENT ON COLUMN usage.written IS 'Rows written, as the server counted when the size was taken: while it stays, so does the size.';
COMMENT ON COLUMN usage.tier IS 'The plan it was last judged by; NULL before the first time.';
COMMENT ON COLUMN usage.stopped_bytes IS 'What it had when its writes were stopped.';
CREATE INDEX usage_on_server ON usage (server_id);
CREATE INDEX usage_not_ok ON usage (level) WHERE level <> 'ok';

-- The request log: who asked what, and what was answered. It is only added to, and forgotten from its old end.

CREATE TABLE requests (
    id            bigint NOT NULL,
    at            timestamptz NOT NULL,
    request_id    text NOT NULL,
    token_id      uuid,
    token_name    text,
    method        text NOT NULL,
    endpoint      text NOT NULL,
    instance_id   text,
    customer_id   text,
    status        smallint NOT NULL,
    ms            real NOT NULL,
    code          text,
    request_body  jsonb,
    response_body jsonb,
    PRIMARY KEY (at, id)
);
COMMENT ON TABLE requests IS 'HTTP requests to the API, sampled: a log, which may lose rows and is no part of a backup.';
COMMENT ON COLUMN requests.id IS 'Made by the process that answered. A batch that is written twice is one.';
COMMENT ON COLUMN requests.at IS 'When it came.';
COMMENT ON COLUMN requests.token_id IS 'No foreign key: a log does not keep what it tells of from going.';
COMMENT ON COLUMN requests.endpoint IS 'The template of the route, without ids.';
COMMENT ON COLUMN requests.request_body IS 'What its schema says may be kept; NULL where nothing may, or it was too long.';
CREATE INDEX requests_of_instance ON requests (instance_id, at, id) WHERE instance_id IS NOT NULL;
CREATE INDEX requests_of_token ON requests (token_id, at, id);
CREATE INDEX requests_of_endpoint ON requests (endpoint, at, id);
CREATE INDEX requests_by_request_id ON requests (request_id);
CREATE INDEX requests_refused ON requests (status, at, id) WHERE status >= 400;

-- Rows are added and read by the service's role, and forgotten through this alone. What came within the hour stays: nobody
-- who has got that role may cover up what they have just done.
CREATE FUNCTION forget_requests(before timestamptz, most integer) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.requests WHERE (at, id) IN (
            SELECT at, id FROM public.requests WHERE at < least(before, now() - interval '1 hour') ORDER BY at, id LIMIT most
        ) RETURNING 1
    )
    SELECT count(*)::integer FROM gone
$$;

-- By default the service's role is given more on every new table.
DO $$
DECLARE
    role name;
BEGIN
    FOR role IN
        SELECT DISTINCT pg_get_userbyid(acl.grantee) FROM pg_class c CROSS JOIN aclexplode(c.relacl) acl
        WHERE c.oid = 'requests'::regclass AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('REVOKE UPDATE, DELETE ON requests FROM %I', role);
    END LOOP;
END $$;

-- Authorities of our own, and the certificates of servers that speak TLS.

CREATE TABLE authorities (
    id          uuid PRIMARY KEY,
    generation  integer NOT NULL UNIQUE CHECK (generation >= 1),
    certificate text NOT NULL,
    key_sealed  bytea NOT NULL,
    issues_from timestamptz NOT NULL,
    created_at  timestamptz NOT NULL
);
COMMENT ON TABLE authorities IS 'Who vouches for servers: all in here are trusted, and the newest whose time has come issues.';
COMMENT ON COLUMN authorities.issues_from IS 'Until then it is only shown, so that clients can learn to trust it.';

CREATE TABLE certificates (
    server_id    uuid PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
    authority_id uuid NOT NULL REFERENCES authorities (id),
    key_id       text NOT NULL,
    key_sealed   bytea NOT NULL,
    certificate  text NOT NULL,
    names        text[] NOT NULL CHECK (names <> '{}'),
    not_after    timestamptz NOT NULL,
    installed    boolean NOT NULL
);
CREATE INDEX certificates_by_authority ON certificates (authority_id);
COMMENT ON TABLE certificates IS 'What servers show for themselves; one without a row speaks no TLS.';
COMMENT ON COLUMN certificates.key_id IS 'Names the key without telling anything of it.';
COMMENT ON COLUMN certificates.names IS 'The names and addresses it is for.';
COMMENT ON COLUMN certificates.installed IS 'False: it was made, and its server may still show the one before.';

ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check
    CHECK (subject IN ('server', 'database', 'token', 'operation', 'drift', 'authority'));

-- Tenant databases are found by how their instance's id, their customer's or their own name begins. The collation is
-- said, so that what begins alike stands together whichever the database has. Tombstones are not looked for.

CREATE INDEX databases_by_instance ON databases (instance_id COLLATE "C") WHERE instance_id IS NOT NULL AND status <> 'purged';
CREATE INDEX databases_by_customer ON databases (customer_id COLLATE "C", instance_id COLLATE "C") WHERE instance_id IS NOT NULL AND status <> 'purged';
CREATE INDEX databases_by_name ON databases (name COLLATE "C", instance_id COLLATE "C") WHERE instance_id IS NOT NULL AND status <> 'purged';

-- When the control plane was backed up, so that somebody sees when it no longer is.

CREATE TABLE backups (
    made_at   timestamptz PRIMARY KEY,
    program   text NOT NULL,
    size      bigint NOT NULL CHECK (size > 0),
    sha256    text NOT NULL
);
COMMENT ON TABLE backups IS 'Backups of the control plane that were written whole. Where they are kept, it does not know.';
COMMENT ON COLUMN backups.size IS 'Bytes of the dump in it; sha256 is of the same.';

-- How servers and databases grew: what samples found, for as long as the settings say.

CREATE TABLE server_history (
    server_id   uuid NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    size_bytes  bigint NOT NULL CHECK (size_bytes >= 0),
    databases   integer NOT NULL CHECK (databases >= 0),
    slots       integer NOT NULL CHECK (slots >= 0),
    connections integer NOT NULL CHECK (connections >= 0),
    hours       smallint NOT NULL CHECK (hours IN (1, 24)),
    full_on     date,
    PRIMARY KEY (server_id, hours, at),
    CHECK (full_on IS NULL OR hours = 24)
) WITH (fillfactor = 90);
COMMENT ON TABLE server_history IS 'What samples found of each server, by the hour and by the day. The newest of both is written again and again.';
COMMENT ON COLUMN server_history.hours IS 'How long this stretch is, which began at `at`.';
COMMENT ON COLUMN server_history.databases IS 'In use when it was last looked; so are slots, spares among them, and size_bytes.';
COMMENT ON COLUMN server_history.connections IS 'The most of all looks, of the databases in use together.';
COMMENT ON COLUMN server_history.full_on IS 'When its slots will all be taken at the pace that there was then; NULL where nothing says so.';
CREATE INDEX server_history_by_age ON server_history (hours, at);

CREATE TABLE database_history (
    database_id uuid PRIMARY KEY REFERENCES usage (database_id) ON DELETE CASCADE,
    last_day    date NOT NULL,
    sizes       real[] NOT NULL CHECK (cardinality(sizes) > 0),
    full_on     date
) WITH (fillfactor = 90);
COMMENT ON TABLE database_history IS 'What each database in use had on disk, day by day: one row each, written once a day.';
COMMENT ON COLUMN database_history.sizes IS 'Bytes at the first look of each day, the last of them on last_day; NULL for a day without one.';
COMMENT ON COLUMN database_history.full_on IS 'When its plan''s storage will be used up at the pace that there was on last_day; NULL where nothing says so.';
CREATE INDEX database_history_full ON database_history (full_on) WHERE full_on IS NOT NULL;

-- What the hub needs to stay quick when the fleet is large: whether the database of a sample is in use is told by those that
-- are not, which are few. A claim writes nothing here.
CREATE INDEX databases_not_ready ON databases (id) WHERE status <> 'ready';
CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version (version_num) VALUES ('0013');

COMMIT;
