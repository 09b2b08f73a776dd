-- Debates that were created by one request, in its order.
CREATE TABLE debate_batches (
  debate_id text PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  batch_id text NOT NULL,
  place integer NOT NULL
);
CREATE INDEX debate_batches_in_order ON debate_batches (batch_id, place);
