-- One receipt a debate that has ended. It outlives its debate, holds no content, and never changes.
CREATE TABLE receipts (
  log_index INTEGER PRIMARY KEY,
  debate_id TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL,
  leaf_hash TEXT NOT NULL,
  key_id TEXT NOT NULL,
  signature TEXT NOT NULL,
  issued_at INTEGER NOT NULL
) STRICT;

-- Of the tree over all receipts: the complete subtrees above the leaves.
CREATE TABLE receipt_nodes (
  level INTEGER NOT NULL,
  position INTEGER NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (level, position)
) STRICT;

-- One row: whoever appends to the log locks it.
CREATE TABLE receipt_log (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  origin TEXT NOT NULL,
  size INTEGER NOT NULL
) STRICT;

-- What receipts are signed with; the last is in use. Seeds are sealed with the encryption key.
CREATE TABLE receipt_keys (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  public_key TEXT NOT NULL,
  seed TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  statement TEXT,
  signed_by_previous TEXT,
  signed_by_next TEXT
) STRICT;

-- With a debate goes what its content could be guessed at with.
CREATE TABLE receipt_salts (
  debate_id TEXT PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  salt TEXT NOT NULL
) STRICT;
