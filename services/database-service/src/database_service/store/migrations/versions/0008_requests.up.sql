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
