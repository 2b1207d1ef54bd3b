DROP TABLE database_history;
DROP TABLE server_history;
