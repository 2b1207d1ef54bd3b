-- Only where nothing is stopped: nobody would give it back.
DO $$
BEGIN
    IF EXISTS (SELECT FROM databases WHERE stop IS DISTINCT FROM 'none' OR stop_wanted <> 'none') THEN
        RAISE EXCEPTION 'databases are stopped for their size; give them a bigger plan, or have them cleaned';
    END IF;
END $$;
DROP TABLE usage;
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
ALTER TABLE databases DROP COLUMN stop_wanted, DROP COLUMN stop;
