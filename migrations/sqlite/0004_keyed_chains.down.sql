ALTER TABLE debate_leases DROP COLUMN not_before;
ALTER TABLE debate_leases DROP COLUMN failures;
ALTER TABLE debates DROP COLUMN chain_seal;
ALTER TABLE debate_events DROP COLUMN key_id;
