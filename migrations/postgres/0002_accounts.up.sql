-- Accounts, tokens, the audit chain, idempotency and the settings that live in the database.
CREATE TABLE users (
  id text PRIMARY KEY,
  email text NOT NULL UNIQUE,
  name text NOT NULL DEFAULT '',
  password_hash text NOT NULL,
  role text NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
  is_active integer NOT NULL DEFAULT 1,
  token_version bigint NOT NULL DEFAULT 1,
  mfa_secret text,
  mfa_enabled integer NOT NULL DEFAULT 0,
  mfa_last_step bigint NOT NULL DEFAULT 0,
  recovery_codes text,
  preferences text NOT NULL DEFAULT '{}',
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  last_login_at bigint
);

CREATE TABLE sessions (
  id text PRIMARY KEY,
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  family text NOT NULL,
  refresh_digest text NOT NULL UNIQUE,
  ip_address text NOT NULL DEFAULT '',
  device text NOT NULL DEFAULT '',
  created_at bigint NOT NULL,
  last_used_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  rotated_at bigint,
  revoked_at bigint
);

CREATE TABLE api_keys (
  id text PRIMARY KEY,
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name text NOT NULL DEFAULT '',
  prefix text NOT NULL,
  digest text NOT NULL UNIQUE,
  created_at bigint NOT NULL,
  expires_at bigint,
  last_used_at bigint,
  revoked_at bigint
);

CREATE TABLE revoked_tokens (
  jti text PRIMARY KEY,
  user_id text,
  reason text NOT NULL DEFAULT '',
  revoked_at bigint NOT NULL,
  expires_at bigint NOT NULL
);

CREATE TABLE audit_log (
  seq bigint PRIMARY KEY,
  at bigint NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  object text NOT NULL,
  result text NOT NULL,
  ip_address text NOT NULL DEFAULT '',
  request_id text NOT NULL DEFAULT '',
  details text NOT NULL DEFAULT '{}',
  key_id text NOT NULL,
  prev_hash text NOT NULL,
  hash text NOT NULL
);

CREATE TABLE idempotency_keys (
  owner text NOT NULL,
  key text NOT NULL,
  fingerprint text NOT NULL,
  status integer NOT NULL,
  response text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (owner, key)
);

CREATE TABLE settings (
  name text PRIMARY KEY,
  value text NOT NULL,
  updated_at bigint NOT NULL
);
