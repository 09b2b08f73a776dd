ALTER TABLE debates DROP COLUMN pause_requested;
ALTER TABLE debates DROP COLUMN documents;
ALTER TABLE debates DROP COLUMN options;
ALTER TABLE debates DROP COLUMN protocol;
