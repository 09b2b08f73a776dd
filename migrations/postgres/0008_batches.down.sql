DROP TABLE removed_debates;
DROP TABLE debate_batches;
