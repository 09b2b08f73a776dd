DROP TABLE next_notes;
ALTER TABLE debates DROP COLUMN next_mark;
