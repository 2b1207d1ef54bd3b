DROP INDEX databases_not_ready;
