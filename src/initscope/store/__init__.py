"""Floor 3: one folder a study: results.db (SQLite, WAL), weights/ (safetensors), a lock. No torch, no pickle."""
