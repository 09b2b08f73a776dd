ALTER TABLE agent_calls DROP COLUMN request_id;
