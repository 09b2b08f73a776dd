-- What may be spent, and what was. Money is a whole number of 10^-12 US dollars. A call reserves the most that it can
-- cost before it is made, at each of its budgets at once; what it did cost takes the place of that afterwards.
ALTER TABLE debates ADD COLUMN budget_picos bigint;
ALTER TABLE debates ADD COLUMN key_id text;
ALTER TABLE agent_calls ADD COLUMN reserved_picos bigint NOT NULL DEFAULT 0;
ALTER TABLE agent_calls ADD COLUMN cost_picos bigint NOT NULL DEFAULT 0;

-- One row a debate, an account and day, a day. The cap is the one in force when something was last reserved.
CREATE TABLE budgets (
  scope text NOT NULL CHECK (scope IN ('debate', 'account', 'day')),
  subject text NOT NULL,
  day bigint NOT NULL,
  cap_picos bigint,
  settled_picos bigint NOT NULL DEFAULT 0 CHECK (settled_picos >= 0),
  unknown_picos bigint NOT NULL DEFAULT 0 CHECK (unknown_picos >= 0),
  reserved_picos bigint NOT NULL DEFAULT 0 CHECK (reserved_picos >= 0),
  overrun_picos bigint NOT NULL DEFAULT 0 CHECK (overrun_picos >= 0),
  told_percent bigint NOT NULL DEFAULT 0,
  updated_at bigint NOT NULL,
  PRIMARY KEY (scope, subject, day),
  CONSTRAINT budgets_held CHECK (settled_picos + unknown_picos + reserved_picos <= cap_picos + overrun_picos)
);
CREATE INDEX budgets_by_day ON budgets (day, scope);

-- One row a call that has a price. It outlives its debate: what was spent stays spent.
CREATE TABLE budget_calls (
  call_id text PRIMARY KEY,
  debate_id text NOT NULL,
  account text NOT NULL,
  key_id text NOT NULL DEFAULT '',
  provider text NOT NULL,
  model text NOT NULL,
  agent text NOT NULL,
  day bigint NOT NULL,
  status text NOT NULL CHECK (status IN ('reserved', 'settled', 'charged_unknown', 'released')),
  reserved_picos bigint NOT NULL CHECK (reserved_picos >= 0),
  cost_picos bigint NOT NULL DEFAULT 0 CHECK (cost_picos >= 0),
  reserved_at bigint NOT NULL,
  settled_at bigint
);
CREATE INDEX budget_calls_by_day ON budget_calls (day, account);
CREATE INDEX budget_calls_by_debate ON budget_calls (debate_id);
