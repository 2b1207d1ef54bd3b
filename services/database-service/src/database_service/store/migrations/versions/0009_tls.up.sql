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
