DROP TABLE one_time_tokens;
ALTER TABLE sessions DROP COLUMN mfa_at;
ALTER TABLE users DROP COLUMN unlocked_at;
ALTER TABLE users DROP COLUMN email_verified;
ALTER TABLE users DROP COLUMN mfa_tries_since;
ALTER TABLE users DROP COLUMN mfa_tries;
ALTER TABLE api_keys DROP COLUMN successor;
ALTER TABLE api_keys DROP COLUMN scopes;
ALTER TABLE api_keys DROP COLUMN key_id;
