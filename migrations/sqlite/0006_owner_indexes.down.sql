DROP INDEX IF EXISTS debates_by_owner;
DROP INDEX IF EXISTS sessions_by_family;
