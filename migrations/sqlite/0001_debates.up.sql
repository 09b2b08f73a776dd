-- Debates, their events (the truth) and what the agents were asked. Times are microseconds since the epoch, UTC.
CREATE TABLE debates (
  id TEXT PRIMARY KEY,
  slug TEXT UNIQUE,
  task TEXT NOT NULL,
  context TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL CHECK (status IN ('created', 'pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
  agents TEXT NOT NULL,
  rounds INTEGER NOT NULL,
  consensus_kind TEXT NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}',
  seed INTEGER NOT NULL,
  owner_id TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  started_at INTEGER,
  completed_at INTEGER,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  rounds_used INTEGER NOT NULL DEFAULT 0,
  consensus_reached INTEGER,
  confidence REAL,
  final_answer TEXT,
  consensus TEXT,
  outcome TEXT,
  error TEXT,
  last_seq INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE debate_events (
  debate_id TEXT NOT NULL REFERENCES debates (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  round INTEGER NOT NULL,
  agent TEXT NOT NULL,
  at INTEGER NOT NULL,
  payload TEXT NOT NULL,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (debate_id, seq)
) STRICT;

CREATE TABLE agent_calls (
  id TEXT PRIMARY KEY,
  debate_id TEXT NOT NULL REFERENCES debates (id) ON DELETE CASCADE,
  phase TEXT NOT NULL,
  round INTEGER NOT NULL,
  agent TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL CHECK (status IN ('intent', 'done', 'failed', 'unknown')),
  request_hash TEXT NOT NULL,
  response TEXT,
  error TEXT,
  tokens_in INTEGER NOT NULL DEFAULT 0,
  tokens_out INTEGER NOT NULL DEFAULT 0,
  cost_micros INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  UNIQUE (debate_id, phase, round, agent, attempt)
) STRICT;

CREATE TABLE matches (
  id TEXT PRIMARY KEY,
  debate_id TEXT NOT NULL UNIQUE REFERENCES debates (id) ON DELETE CASCADE,
  winner TEXT,
  participants TEXT NOT NULL,
  scores TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE ratings (
  agent_name TEXT PRIMARY KEY,
  elo REAL NOT NULL DEFAULT 1500,
  glicko_rating REAL NOT NULL DEFAULT 1500,
  glicko_deviation REAL NOT NULL DEFAULT 350,
  glicko_volatility REAL NOT NULL DEFAULT 0.06,
  wins INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0,
  draws INTEGER NOT NULL DEFAULT 0,
  matches INTEGER NOT NULL DEFAULT 0,
  last_match_at INTEGER,
  updated_at INTEGER NOT NULL
) STRICT;

-- Who runs a debate. A new owner raises the epoch; writes of an older epoch are refused (fencing).
CREATE TABLE debate_leases (
  debate_id TEXT PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  instance TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
