DROP TABLE events;
DROP TABLE instances;
DROP FUNCTION tell_of_instance();
