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
