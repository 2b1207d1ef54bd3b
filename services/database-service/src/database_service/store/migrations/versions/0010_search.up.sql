-- Tenant databases are found by how their instance's id, their customer's or their own name begins. The collation is
-- said, so that what begins alike stands together whichever the database has. Tombstones are not looked for.

CREATE INDEX databases_by_instance ON databases (instance_id COLLATE "C") WHERE instance_id IS NOT NULL AND status <> 'purged';
CREATE INDEX databases_by_customer ON databases (customer_id COLLATE "C", instance_id COLLATE "C") WHERE instance_id IS NOT NULL AND status <> 'purged';
CREATE INDEX databases_by_name ON databases (name COLLATE "C", instance_id COLLATE "C") WHERE instance_id IS NOT NULL AND status <> 'purged';
