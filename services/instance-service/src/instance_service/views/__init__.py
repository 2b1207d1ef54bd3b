"""SELECTs for doors, in READ ONLY transactions."""
