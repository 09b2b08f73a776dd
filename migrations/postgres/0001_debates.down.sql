DROP TABLE debate_leases;
DROP TABLE ratings;
DROP TABLE matches;
DROP TABLE agent_calls;
DROP TABLE debate_events;
DROP TABLE debates;
