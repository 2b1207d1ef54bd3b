ALTER TABLE servers DROP COLUMN image, DROP COLUMN admin_password_version, DROP COLUMN admin_password_next;
