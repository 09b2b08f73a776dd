DROP INDEX IF EXISTS matches_by_creation;
DROP INDEX IF EXISTS idempotency_keys_by_age;
DROP INDEX IF EXISTS revoked_tokens_by_expiry;
DROP INDEX IF EXISTS api_keys_by_user;
DROP INDEX IF EXISTS sessions_by_user;
DROP INDEX IF EXISTS agent_calls_by_debate;
DROP INDEX IF EXISTS debates_by_status;
DROP INDEX IF EXISTS debates_by_creation;
