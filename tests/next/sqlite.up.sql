-- What a release may bring while the one before still runs: a table and a column that it does not know.
CREATE TABLE next_notes (
  debate_id text PRIMARY KEY REFERENCES debates (id) ON DELETE CASCADE,
  note text NOT NULL
);
ALTER TABLE debates ADD COLUMN next_mark integer NOT NULL DEFAULT 0;
