DROP FUNCTION database_is_sound CASCADE;
DROP TABLE slots, logins, events, tokens, databases, servers;
DROP FUNCTION notify_database_changed, notify_token_changed;
