-- aragora: no-transaction
DROP INDEX CONCURRENTLY IF EXISTS matches_by_creation;
DROP INDEX CONCURRENTLY IF EXISTS idempotency_keys_by_age;
DROP INDEX CONCURRENTLY IF EXISTS revoked_tokens_by_expiry;
DROP INDEX CONCURRENTLY IF EXISTS api_keys_by_user;
DROP INDEX CONCURRENTLY IF EXISTS sessions_by_user;
DROP INDEX CONCURRENTLY IF EXISTS agent_calls_by_debate;
DROP INDEX CONCURRENTLY IF EXISTS debates_by_status;
DROP INDEX CONCURRENTLY IF EXISTS debates_by_creation;
