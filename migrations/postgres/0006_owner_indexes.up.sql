-- aragora: no-transaction
-- Quotas count the debates of an account; sessions are ended by family.
CREATE INDEX CONCURRENTLY sessions_by_family ON sessions (family);
CREATE INDEX CONCURRENTLY debates_by_owner ON debates (owner_id, created_at DESC);
