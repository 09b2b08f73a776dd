DROP TABLE settings;
DROP TABLE idempotency_keys;
DROP TABLE audit_log;
DROP TABLE revoked_tokens;
DROP TABLE api_keys;
DROP TABLE sessions;
DROP TABLE users;
