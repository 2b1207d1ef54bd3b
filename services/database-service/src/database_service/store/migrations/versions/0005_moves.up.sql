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
