-- aragora: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS debate_leases_held;
DROP INDEX CONCURRENTLY IF EXISTS debates_open;
