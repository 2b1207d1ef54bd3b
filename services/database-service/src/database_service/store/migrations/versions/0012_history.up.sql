-- How servers and databases grew: what samples found, for as long as the settings say.

CREATE TABLE server_history (
    server_id   uuid NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    size_bytes  bigint NOT NULL CHECK (size_bytes >= 0),
    databases   integer NOT NULL CHECK (databases >= 0),
    slots       integer NOT NULL CHECK (slots >= 0),
    connections integer NOT NULL CHECK (connections >= 0),
    hours       smallint NOT NULL CHECK (hours IN (1, 24)),
    full_on     date,
    PRIMARY KEY (server_id, hours, at),
    CHECK (full_on IS NULL OR hours = 24)
) WITH (fillfactor = 90);
COMMENT ON TABLE server_history IS 'What samples found of each server, by the hour and by the day. The newest of both is written again and again.';
COMMENT ON COLUMN server_history.hours IS 'How long this stretch is, which began at `at`.';
COMMENT ON COLUMN server_history.databases IS 'In use when it was last looked; so are slots, spares among them, and size_bytes.';
COMMENT ON COLUMN server_history.connections IS 'The most of all looks, of the databases in use together.';
COMMENT ON COLUMN server_history.full_on IS 'When its slots will all be taken at the pace that there was then; NULL where nothing says so.';
CREATE INDEX server_history_by_age ON server_history (hours, at);

CREATE TABLE database_history (
    database_id uuid PRIMARY KEY REFERENCES usage (database_id) ON DELETE CASCADE,
    last_day    date NOT NULL,
    sizes       real[] NOT NULL CHECK (cardinality(sizes) > 0),
    full_on     date
) WITH (fillfactor = 90);
COMMENT ON TABLE database_history IS 'What each database in use had on disk, day by day: one row each, written once a day.';
COMMENT ON COLUMN database_history.sizes IS 'Bytes at the first look of each day, the last of them on last_day; NULL for a day without one.';
COMMENT ON COLUMN database_history.full_on IS 'When its plan''s storage will be used up at the pace that there was on last_day; NULL where nothing says so.';
CREATE INDEX database_history_full ON database_history (full_on) WHERE full_on IS NOT NULL;
