"""Training of the networks, stage by stage. Each stage continues from its checkpoint."""
