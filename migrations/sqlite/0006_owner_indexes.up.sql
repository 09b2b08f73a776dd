-- Quotas count the debates of an account; sessions are ended by family.
CREATE INDEX sessions_by_family ON sessions (family);
CREATE INDEX debates_by_owner ON debates (owner_id, created_at DESC);
