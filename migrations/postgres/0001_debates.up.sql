-- Debates, their events (the truth) and what the agents were asked. Times are microseconds since the epoch, UTC.
CREATE TABLE debates (
  id text PRIMARY KEY,
  slug text UNIQUE,
  task text NOT NULL,
  context text NOT NULL DEFAULT '',
  status text NOT NULL CHECK (status IN ('created', 'pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
  agents text NOT NULL,
  rounds integer NOT NULL,
  consensus_kind text NOT NULL,
  metadata text NOT NULL DEFAULT '{}',
  seed bigint NOT NULL,
  owner_id text,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  started_at bigint,
  completed_at bigint,
  cancel_requested integer NOT NULL DEFAULT 0,
  rounds_used integer NOT NULL DEFAULT 0,
  consensus_reached integer,
  confidence double precision,
  final_answer text,
  consensus text,
  outcome text,
  error text,
  last_seq bigint NOT NULL DEFAULT 0
);

CREATE TABLE debate_events (
  debate_id text NOT NULL REFERENCES debates (id) ON DELETE CASCADE,
  seq bigint NOT NULL,
  type text NOT NULL,
  round integer NOT NULL,
  agent text NOT NULL,
  at bigint NOT NULL,
  payload text NOT NULL,
  prev_hash text NOT NULL,
  hash text NOT NULL,
  PRIMARY KEY (debate_id, seq)
);

CREATE TABLE agent_calls (
  id text PRIMARY KEY,
  debate_id text NOT NULL REFERENCES debates (id) ON DELETE CASCADE,
  phase text NOT NULL,
  round integer NOT NULL,
  agent text NOT NULL,
  attempt integer NOT NULL,
  provider text NOT NULL,
  model text NOT NULL DEFAULT '',
  status text NOT NULL CHECK (status IN ('intent', 'done', 'failed', 'unknown')),
  request_hash text NOT NULL,
  response text,
  error text,
  tokens_in bigint NOT NULL DEFAULT 0,
  tokens_out bigint NOT NULL DEFAULT 0,
  cost_micros bigint NOT NULL DEFAULT 0,
  started_at bigint NOT NULL,
  finished_at bigint,
  UNIQUE (debate_id, phase, round, agent, attempt)
);

CREATE TABLE matches (
  id text PRIMARY KEY,
  debate_id text NOT NULL UNIQUE REFERENCES debates (id) ON DELETE CASCADE,
  winner text,
  participants text NOT NULL,
  scores text NOT NULL,
  created_at bigint NOT NULL
);

CREATE TABLE ratings (
  agent_name text PRIMARY KEY,
  elo double precision NOT NULL DEFAULT 1500,
  glicko_rating double precision NOT NULL DEFAULT 1500,
  glicko_deviation double precision NOT NULL DEFAULT 350,
  glicko_volatility double precision NOT NULL DEFAULT 0.06,
  wins integer NOT NULL DEFAULT 0,
  losses integer NOT NULL DEFAULT 0,
  draws integer NOT NULL DEFAULT 0,
  matches integer NOT NULL DEFAULT 0,
  last_match_at bigint,
  updated_at bigint NOT NULL
);

-- Who runs a debate. A new owner raises the epoch; writes of an older epoch are refused (fencing).
CREATE TABLE debate_leases (
  debate_id text PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  instance text NOT NULL,
  epoch bigint NOT NULL,
  expires_at bigint NOT NULL
);
