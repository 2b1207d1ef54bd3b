ALTER TABLE items ADD COLUMN done_at timestamptz;
CREATE INDEX items_in_order ON items (done_at NULLS FIRST, id);
