-- API keys under a key of their own, second factors, and tokens that are good once.
ALTER TABLE api_keys ADD COLUMN key_id text NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN scopes text NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN successor text;
ALTER TABLE users ADD COLUMN mfa_tries integer NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN mfa_tries_since bigint NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN email_verified integer NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN unlocked_at bigint NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN mfa_at bigint;

CREATE TABLE one_time_tokens (
  id text PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('ticket', 'reset', 'setup')),
  digest text NOT NULL,
  key_id text NOT NULL,
  user_id text REFERENCES users (id) ON DELETE CASCADE,
  subject text NOT NULL DEFAULT '{}',
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id);
