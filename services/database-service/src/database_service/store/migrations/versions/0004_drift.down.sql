DELETE FROM events WHERE subject = 'drift';
ALTER TABLE events DROP CONSTRAINT events_subject_check;
ALTER TABLE events ADD CONSTRAINT events_subject_check CHECK (subject IN ('server', 'database', 'token', 'operation'));
DROP TABLE drift_look, drift;
