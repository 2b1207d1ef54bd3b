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
