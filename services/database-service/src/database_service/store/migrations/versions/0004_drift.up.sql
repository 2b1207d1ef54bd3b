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
