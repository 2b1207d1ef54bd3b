-- Servers that run images, and administrators' passwords that can be changed.

ALTER TABLE servers
    ADD COLUMN image                  text,
    ADD COLUMN admin_password_version integer NOT NULL DEFAULT 1 CHECK (admin_password_version >= 1),
    ADD COLUMN admin_password_next    bytea;
COMMENT ON COLUMN servers.image IS 'What it runs, pinned by digest where it has one; NULL where its provisioner runs no images.';
COMMENT ON COLUMN servers.admin_password_next IS 'The password it is being given: stored before the server is told.';
