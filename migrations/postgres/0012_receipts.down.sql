DROP TABLE receipt_salts;
DROP TABLE receipt_keys;
DROP TABLE receipt_log;
DROP TABLE receipt_nodes;
DROP TABLE receipts;
