DROP FUNCTION forget_requests(timestamptz, integer);
DROP TABLE requests;
