-- Lists are read newest first, with and without a status; running work is looked for at every start.
CREATE INDEX debates_by_creation ON debates (created_at DESC, id DESC);
CREATE INDEX debates_by_status ON debates (status, created_at DESC, id DESC);
CREATE INDEX agent_calls_by_debate ON agent_calls (debate_id);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX api_keys_by_user ON api_keys (user_id);
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX matches_by_creation ON matches (created_at);
