DROP TABLE operation_steps, operations;
DROP FUNCTION notify_operation_changed;

DELETE FROM events WHERE subject = 'operation';
ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check CHECK (subject IN ('server', 'database', 'token'));
