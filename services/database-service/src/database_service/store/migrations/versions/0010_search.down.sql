DROP INDEX databases_by_name;
DROP INDEX databases_by_customer;
DROP INDEX databases_by_instance;
