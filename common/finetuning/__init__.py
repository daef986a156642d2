"""Fine-tuning across sites: what coordinator and sites agree on."""
