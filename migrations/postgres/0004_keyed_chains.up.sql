-- Chains of events under a key, seals for those from before, and what a debate that cannot be run waits for.
ALTER TABLE debate_events ADD COLUMN key_id text NOT NULL DEFAULT '';
ALTER TABLE debates ADD COLUMN chain_seal text;
ALTER TABLE debate_leases ADD COLUMN failures integer NOT NULL DEFAULT 0;
ALTER TABLE debate_leases ADD COLUMN not_before bigint NOT NULL DEFAULT 0;
