-- What the scheduler looks for, by owner and age, without a look at what is finished; and the leases that are held.
CREATE INDEX debates_open ON debates (coalesce(owner_id, ''), created_at, id) WHERE status IN ('created', 'pending', 'running', 'paused');
CREATE INDEX debate_leases_held ON debate_leases (expires_at) WHERE expires_at > 0;
