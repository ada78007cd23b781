"""From documents to batches: prepare a corpus into shards, then plan, mask, pack and collate training examples."""
