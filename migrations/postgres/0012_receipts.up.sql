-- One receipt a debate that has ended. It outlives its debate, holds no content, and never changes.
CREATE TABLE receipts (
  log_index bigint PRIMARY KEY,
  debate_id text NOT NULL UNIQUE,
  body text NOT NULL,
  leaf_hash text NOT NULL,
  key_id text NOT NULL,
  signature text NOT NULL,
  issued_at bigint NOT NULL
);

-- Of the tree over all receipts: the complete subtrees above the leaves.
CREATE TABLE receipt_nodes (
  level integer NOT NULL,
  position bigint NOT NULL,
  hash text NOT NULL,
  PRIMARY KEY (level, position)
);

-- One row: whoever appends to the log locks it.
CREATE TABLE receipt_log (
  id integer PRIMARY KEY CHECK (id = 1),
  origin text NOT NULL,
  size bigint NOT NULL
);

-- What receipts are signed with; the last is in use. Seeds are sealed with the encryption key.
CREATE TABLE receipt_keys (
  number integer PRIMARY KEY,
  id text NOT NULL UNIQUE,
  public_key text NOT NULL,
  seed text NOT NULL,
  created_at bigint NOT NULL,
  statement text,
  signed_by_previous text,
  signed_by_next text
);

-- With a debate goes what its content could be guessed at with.
CREATE TABLE receipt_salts (
  debate_id text PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  salt text NOT NULL
);
