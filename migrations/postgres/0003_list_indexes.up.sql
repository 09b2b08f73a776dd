-- aragora: no-transaction
-- Lists are read newest first, with and without a status; running work is looked for at every start.
CREATE INDEX CONCURRENTLY debates_by_creation ON debates (created_at DESC, id DESC);
CREATE INDEX CONCURRENTLY debates_by_status ON debates (status, created_at DESC, id DESC);
CREATE INDEX CONCURRENTLY agent_calls_by_debate ON agent_calls (debate_id);
CREATE INDEX CONCURRENTLY sessions_by_user ON sessions (user_id);
CREATE INDEX CONCURRENTLY api_keys_by_user ON api_keys (user_id);
CREATE INDEX CONCURRENTLY revoked_tokens_by_expiry ON revoked_tokens (expires_at);
CREATE INDEX CONCURRENTLY idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX CONCURRENTLY matches_by_creation ON matches (created_at);
