-- What the hub needs to stay quick when the fleet is large: whether the database of a sample is in use is told by those that
-- are not, which are few. A claim writes nothing here.
CREATE INDEX databases_not_ready ON databases (id) WHERE status <> 'ready';
