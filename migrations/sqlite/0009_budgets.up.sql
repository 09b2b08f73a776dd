-- What may be spent, and what was. Money is a whole number of 10^-12 US dollars. A call reserves the most that it can
-- cost before it is made, at each of its budgets at once; what it did cost takes the place of that afterwards.
ALTER TABLE debates ADD COLUMN budget_picos INTEGER;
ALTER TABLE debates ADD COLUMN key_id TEXT;
ALTER TABLE agent_calls ADD COLUMN reserved_picos INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agent_calls ADD COLUMN cost_picos INTEGER NOT NULL DEFAULT 0;

-- One row a debate, an account and day, a day. The cap is the one in force when something was last reserved.
CREATE TABLE budgets (
  scope TEXT NOT NULL CHECK (scope IN ('debate', 'account', 'day')),
  subject TEXT NOT NULL,
  day INTEGER NOT NULL,
  cap_picos INTEGER,
  settled_picos INTEGER NOT NULL DEFAULT 0 CHECK (settled_picos >= 0),
  unknown_picos INTEGER NOT NULL DEFAULT 0 CHECK (unknown_picos >= 0),
  reserved_picos INTEGER NOT NULL DEFAULT 0 CHECK (reserved_picos >= 0),
  overrun_picos INTEGER NOT NULL DEFAULT 0 CHECK (overrun_picos >= 0),
  told_percent INTEGER NOT NULL DEFAULT 0,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (scope, subject, day),
  CONSTRAINT budgets_held CHECK (settled_picos + unknown_picos + reserved_picos <= cap_picos + overrun_picos)
) STRICT;
CREATE INDEX budgets_by_day ON budgets (day, scope);

-- One row a call that has a price. It outlives its debate: what was spent stays spent.
CREATE TABLE budget_calls (
  call_id TEXT PRIMARY KEY,
  debate_id TEXT NOT NULL,
  account TEXT NOT NULL,
  key_id TEXT NOT NULL DEFAULT '',
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  agent TEXT NOT NULL,
  day INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('reserved', 'settled', 'charged_unknown', 'released')),
  reserved_picos INTEGER NOT NULL CHECK (reserved_picos >= 0),
  cost_picos INTEGER NOT NULL DEFAULT 0 CHECK (cost_picos >= 0),
  reserved_at INTEGER NOT NULL,
  settled_at INTEGER
) STRICT;
CREATE INDEX budget_calls_by_day ON budget_calls (day, account);
CREATE INDEX budget_calls_by_debate ON budget_calls (debate_id);
