-- The number that the provider gave to the call, to ask its support about. Calls of before have none.
ALTER TABLE agent_calls ADD COLUMN request_id text;
