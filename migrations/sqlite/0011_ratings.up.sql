-- The whole match as the debate's chain has it, as JSON: seats with the provider and model that spoke, votes of peers,
-- domain. Matches of before have none.
ALTER TABLE matches ADD COLUMN record TEXT;
