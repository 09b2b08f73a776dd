DROP TABLE debate_batches;
