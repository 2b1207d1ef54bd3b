-- Instances and their events.
-- The row is the job: an instance carries intent (wanted, plan_tier), status, when to look again (due_at), who is looking
-- (lease_until, lease_token), the fence (version), failed attempts and the last error. It carries no credentials.

CREATE TABLE instances (
    id            uuid PRIMARY KEY,
    seq           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    name          text NOT NULL,
    customer_id   text NOT NULL CHECK (customer_id !~ '[^A-Za-z0-9._-]' AND length(customer_id) BETWEEN 1 AND 64),
    asked_tier    text NOT NULL,
    image         text,
    command       text[] NOT NULL,
    env           jsonb NOT NULL,
    plan_tier     text NOT NULL,
    placed_tier   text NOT NULL,
    wanted        text NOT NULL CHECK (wanted IN ('running', 'stopped')),
    status        text NOT NULL CHECK (status IN ('pending', 'waiting_for_database', 'starting', 'running', 'unhealthy', 'stopping',
                                                  'stopped', 'changing_plan', 'rotating', 'deleting', 'deleted', 'error')),
    status_since  timestamptz NOT NULL,
    given_host    text,
    given_port    integer,
    given_user    text,
    given_version text,
    host          text,
    port          integer,
    errand        uuid,
    operation_id  uuid,
    progress      jsonb,
    budget_until  timestamptz NOT NULL,
    failures      integer NOT NULL DEFAULT 0,
    request_key   text UNIQUE,
    due_at        timestamptz,
    lease_until   timestamptz,
    lease_token   uuid,
    version       bigint NOT NULL DEFAULT 1,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    created_at    timestamptz NOT NULL,
    deleted_at    timestamptz,
    CHECK ((due_at IS NULL) = (status IN ('stopped', 'deleted'))),
    CHECK ((deleted_at IS NULL) = (status <> 'deleted')),
    CHECK ((errand IS NULL) = (status NOT IN ('changing_plan', 'rotating'))),
    CHECK (operation_id IS NULL OR status = 'changing_plan'),
    CHECK (num_nonnulls(given_host, given_port, given_user, given_version) IN (0, 4)),
    CHECK (num_nonnulls(host, port) IN (0, 2)),
    CHECK ((lease_until IS NULL) = (lease_token IS NULL))
);
COMMENT ON TABLE instances IS 'One running application each, with a database of its own from database-service.';
COMMENT ON COLUMN instances.placed_tier IS 'The plan its database has; plan_tier is the one it is to have.';
COMMENT ON COLUMN instances.given_version IS 'What its workload was last told to run with: a digest, with no secret in it.';
COMMENT ON COLUMN instances.errand IS 'Names the rotation or change of plan in hand, so that asking again does not do it twice.';
CREATE UNIQUE INDEX instances_one_of_a_name ON instances (customer_id, name) WHERE status <> 'deleted';
CREATE INDEX instances_due ON instances (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX instances_live ON instances (seq) WHERE status <> 'deleted';

CREATE TABLE events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    action        text NOT NULL,
    instance_id   uuid NOT NULL REFERENCES instances (id),
    before        text,
    after         text,
    why           text,
    request_id    text
);
COMMENT ON TABLE events IS 'The audit trail: appended with the change it tells of, never changed.';
CREATE INDEX events_of_instance ON events (instance_id, id);

CREATE FUNCTION tell_of_instance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('instance_changed', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER instances_tell AFTER UPDATE ON instances
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.progress IS DISTINCT FROM NEW.progress)
    EXECUTE FUNCTION tell_of_instance();
