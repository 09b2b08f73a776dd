-- aragora: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS debates_by_owner;
DROP INDEX CONCURRENTLY IF EXISTS sessions_by_family;
