-- When the control plane was backed up, so that somebody sees when it no longer is.

CREATE TABLE backups (
    made_at   timestamptz PRIMARY KEY,
    program   text NOT NULL,
    size      bigint NOT NULL CHECK (size > 0),
    sha256    text NOT NULL
);
COMMENT ON TABLE backups IS 'Backups of the control plane that were written whole. Where they are kept, it does not know.';
COMMENT ON COLUMN backups.size IS 'Bytes of the dump in it; sha256 is of the same.';
