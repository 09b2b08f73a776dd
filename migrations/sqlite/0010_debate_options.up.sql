-- By which rules a debate goes (those of 1 are the rules of all that were created before), what else was asked for, and
-- that somebody wants it to rest.
ALTER TABLE debates ADD COLUMN protocol INTEGER NOT NULL DEFAULT 1;
ALTER TABLE debates ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE debates ADD COLUMN documents TEXT NOT NULL DEFAULT '[]';
ALTER TABLE debates ADD COLUMN pause_requested INTEGER NOT NULL DEFAULT 0;
