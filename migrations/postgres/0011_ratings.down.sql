ALTER TABLE matches DROP COLUMN record;
