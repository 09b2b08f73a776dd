-- Debates that were created by one request, in its order.
CREATE TABLE debate_batches (
  debate_id TEXT PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  batch_id TEXT NOT NULL,
  place INTEGER NOT NULL
) STRICT;
CREATE INDEX debate_batches_in_order ON debate_batches (batch_id, place);
