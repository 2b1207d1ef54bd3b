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
