-- Takes the whole schema back. Everything in it is lost.
-- Made from the revisions by `make schema`; apply with: psql -v ON_ERROR_STOP=1 -f

BEGIN;

DELETE FROM events WHERE subject = 'drift';
ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check CHECK (subject IN ('server', 'database', 'token', 'operation'));
DROP TABLE drift_look, drift;

DROP TABLE operation_steps, operations;
DROP FUNCTION notify_operation_changed;

DELETE FROM events WHERE subject = 'operation';
ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check CHECK (subject IN ('server', 'database', 'token'));

ALTER TABLE servers DROP COLUMN image, DROP COLUMN admin_password_version, DROP COLUMN admin_password_next;

DROP FUNCTION database_is_sound CASCADE;
DROP TABLE slots, logins, events, tokens, databases, servers;
DROP FUNCTION notify_database_changed, notify_token_changed;
DROP TABLE alembic_version;

COMMIT;
