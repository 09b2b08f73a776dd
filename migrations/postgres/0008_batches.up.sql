-- Debates that were created by one request, in its order.
CREATE TABLE debate_batches (
  debate_id text PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  batch_id text NOT NULL,
  place integer NOT NULL
);
CREATE INDEX debate_batches_in_order ON debate_batches (batch_id, place);

-- For a day after their creation, so that a quota is not had back by deleting.
CREATE TABLE removed_debates (
  debate_id text PRIMARY KEY,
  owner_id text NOT NULL,
  created_at bigint NOT NULL
);
CREATE INDEX removed_debates_by_owner ON removed_debates (owner_id, created_at);
