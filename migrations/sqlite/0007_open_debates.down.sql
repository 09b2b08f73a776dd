DROP INDEX IF EXISTS debate_leases_held;
DROP INDEX IF EXISTS debates_open;
