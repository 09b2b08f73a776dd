-- Chains of events under a key, seals for those from before, and what a debate that cannot be run waits for.
ALTER TABLE debate_events ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
ALTER TABLE debates ADD COLUMN chain_seal TEXT;
ALTER TABLE debate_leases ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE debate_leases ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
