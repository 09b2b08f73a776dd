DROP TABLE budget_calls;
DROP TABLE budgets;
ALTER TABLE agent_calls DROP COLUMN cost_picos;
ALTER TABLE agent_calls DROP COLUMN reserved_picos;
ALTER TABLE debates DROP COLUMN key_id;
ALTER TABLE debates DROP COLUMN budget_picos;
